"""A TV signed in, and a program allowed, in a real browser before auth as it is deployed: two replicas, Postgres, Redis."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright, expect

from media_gateway.auth.clients import DEVICE_CODE
from media_gateway.auth.totp import STEP_S, code_at
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from tests.browser.test_device_page import CHROMIUM
from tests.support.front_door import gateway
from tests.support.servers import unused_port
from tests.support.signing_in import PASSWORD, SECRET, Answer, Stand, auth_stand, request_of

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)

MINE = "/api/v1/recommendations"
"""Needs a token; the gateway of these tests has no such service, so that a good token gets 503."""


@dataclass
class Stage:
    stand: Stand
    browser: Browser

    @property
    def tv_side(self) -> str:
        """The replica that the TV talks to."""
        return self.stand.servers[0].url

    @property
    def page_side(self) -> str:
        """The replica that the person's browser talks to."""
        return self.stand.servers[1].url

    async def visitor(self) -> Page:
        context = await self.browser.new_context(
            viewport={"width": 390, "height": 844}, java_script_enabled=False
        )
        page = await context.new_page()
        page.set_default_timeout(20_000)
        return page

    async def post(self, path: str, **form: str) -> Answer:
        """A request of the TV."""
        async with self.stand.http.post(self.tv_side + path, data=form) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    async def poll(self, device_code: str) -> Answer:
        return await self.post("/auth/token", grant_type=DEVICE_CODE, device_code=device_code, client_id="tv")


@pytest.fixture
async def stage(database_url: str, redis_url: str, tmp_path, database: Database) -> AsyncIterator[Stage]:
    settings = {"device_poll_s": 0.5, "drain_timeout_s": 4}
    async with (
        auth_stand(tmp_path, database_url, redis_url, database, replicas=2, **settings) as stand,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Stage(stand, browser)
        finally:
            await browser.close()


async def sign_in(page: Page) -> None:
    await page.get_by_label("E-mail address").fill("anna@tv.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


async def enrol(stand: Stand) -> bytes:
    """A second factor of Anna; gives the secret of her app."""
    headers = {"Authorization": f"Bearer {mint_token(SECRET, str(stand.people['anna']))}"}
    made = await stand.send("POST", "/api/v1/mfa/enroll", headers=headers)
    assert made.status == 201, made.text
    secret = base64.b32decode(made.body["secret"])
    # The code of the step before is taken, too, so that the one of now is left for signing in.
    first = {"code": code_at(secret, int(time.time() // STEP_S) - 1)}
    confirmed = await stand.send("POST", "/api/v1/mfa/verify", json=first, headers=headers)
    assert confirmed.status == 200, confirmed.text
    return secret


async def next_allowed_poll(stage: Stage, device_code: str) -> Answer:
    ends_at = time.monotonic() + 20
    while (answer := await stage.poll(device_code)).error in {"authorization_pending", "slow_down"}:
        assert time.monotonic() < ends_at, answer.text
        await asyncio.sleep(0.1)
    return answer


async def test_a_tv_at_one_replica_is_approved_by_a_person_with_a_second_factor_at_another(stage, redis_url):
    secret = await enrol(stage.stand)
    codes = (await stage.post("/auth/device", client_id="tv", scope="openid read:content")).body
    assert (await stage.poll(codes["device_code"])).error == "authorization_pending"
    page = await stage.visitor()
    await page.goto(f"{stage.page_side}/device?user_code={codes['user_code']}")
    await sign_in(page)
    await page.get_by_label("Code").fill(code_at(secret, int(time.time() // STEP_S)))
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_label("Code")).to_have_value(codes["user_code"])
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading", name="Let “Living-room TV” use your account?")).to_be_visible()
    for told in ("127.0.0.1", "less than a minute ago", "See films and series", "anna@tv.example"):
        await expect(page.get_by_text(told).first).to_be_visible()
    await page.get_by_role("button", name="Approve").click()
    await expect(page.get_by_role("heading", name="Done")).to_be_visible()
    # Approved is approved at once, however early the poll: slowing down is for codes that nobody has decided about.
    tokens = await stage.poll(codes["device_code"])
    assert tokens.status == 200, tokens.text
    bearer = {"Authorization": f"Bearer {tokens.body['access_token']}"}
    who = await stage.stand.send("GET", "/auth/userinfo", headers=bearer)
    assert who.body["sub"] == str(stage.stand.people["anna"])
    trusting = {
        "auth_jwks_url": f"{stage.page_side}/.well-known/jwks.json",
        "auth_jwks_issuer": "http://auth.example",
    }
    async with gateway(redis_url, **trusting) as session, session.get(MINE, headers=bearer) as answer:
        assert answer.status == 503  # it knows who calls, and has nothing behind it


async def test_a_refused_tv_learns_it(stage):
    codes = (await stage.post("/auth/device", client_id="tv")).body
    page = await stage.visitor()
    await page.goto(f"{stage.page_side}/device?user_code={codes['user_code']}")
    await sign_in(page)
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_role("heading", name="Refused")).to_be_visible()
    refused = await next_allowed_poll(stage, codes["device_code"])
    assert (refused.status, refused.error) == (400, "access_denied")


@pytest.mark.parametrize(("host", "url_host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_a_program_on_this_machine_is_allowed_and_called_back(stage, host, url_host):
    """The content security policy of the page lets its form lead on to the program."""
    await stage.stand.run(
        "INSERT INTO oauth_clients (client_id, name, redirect_uris, grant_types, scopes) VALUES ('tool', 'Tool', "
        "ARRAY[CAST(:uri AS text)], '{authorization_code}', '{read:content}')",
        uri=f"http://{url_host}/callback",
    )
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def callback(request: web.Request) -> web.Response:
        await asked.put(str(request.rel_url))
        return web.Response(text="you can close this window")

    app, port = web.Application(), unused_port()
    app.router.add_get("/callback", callback)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        redirect_uri = f"http://{url_host}:{port}/callback"
        page = await stage.visitor()
        query = request_of("tool", redirect_uri=redirect_uri, scope="read:content")
        await page.goto(f"{stage.page_side}/auth/authorize?{query}")
        await sign_in(page)
        await expect(page.get_by_text("See films and series").first).to_be_visible()
        await page.get_by_role("button", name="Allow").click()
        await expect(page.get_by_text("you can close this window")).to_be_visible()
        fields = parse_qs(urlsplit(await asyncio.wait_for(asked.get(), 20)).query)
    finally:
        await runner.cleanup()
    assert (fields["state"], fields["iss"]) == (["the state"], ["http://auth.example"])
    tokens = await stage.stand.redeem(fields["code"][0], "tool", redirect_uri=redirect_uri)
    assert tokens.status == 200, tokens.text
