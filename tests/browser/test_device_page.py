"""The page ``/device`` in a real browser, in front of two servers that take turns."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from media_gateway.auth.user_codes import make_user_code, shown
from tests.support.devices import PASSWORD, Door, Program, World, person, serve, until_no_longer_pending
from tests.support.servers import unused_port

CHROMIUM = (
    os.environ.get("MEDIA_GATEWAY_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
)

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@dataclass
class Stage:
    world: World
    door: Door
    url: str
    browser: Browser

    @asynccontextmanager
    async def visitor(self, **options) -> AsyncIterator[Page]:
        """A page of a new browser, in which no script runs: the pages need none."""
        options = {"viewport": PHONE, "java_script_enabled": False, **options}
        context: BrowserContext = await self.browser.new_context(**options)
        try:
            page = await context.new_page()
            page.set_default_timeout(20_000)
            yield page
        finally:
            await context.close()


@asynccontextmanager
async def alternating(port: int, targets: list[str]) -> AsyncIterator[None]:
    """A port whose connections go to the targets in turns; the servers close each after one answer."""
    turns = cycle(targets)

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, target = next(turns).removeprefix("http://").partition(":")
        behind_reader, behind_writer = await asyncio.open_connection(host, int(target))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65_536):
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

    server = await asyncio.start_server(serve_one, "127.0.0.1", port)
    async with server:
        yield


@pytest.fixture
def anna():
    return person("anna")


@pytest.fixture
async def stage(redis_url, anna):
    world = World(programs={"tv": Program(client_id="tv", name="Living-room TV")})
    world.add(anna)
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    servers = [
        await serve(world, redis_url, public_url=url, device_poll_s=0.01, drain_delay_s=0, drain_timeout_s=4)
        for _ in range(2)
    ]
    try:
        async with (
            alternating(port, [server.url for server in servers]),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield Stage(world, Door(http, url), url, browser)
            await browser.close()
    finally:
        await asyncio.gather(*(server.drain() for server in servers))


async def sign_in(page: Page, email: str = "anna@example.com", password: str = PASSWORD) -> None:
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def picture(page: Page, name: str) -> None:
    """Keeps what the page looks like, if a folder for that is named."""
    if folder := os.environ.get("MEDIA_GATEWAY_TEST_PICTURES"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def heading(page: Page, text: str):
    return expect(page.get_by_role("heading", name=text)).to_be_visible()


async def test_a_person_approves_a_tv_from_its_qr_code(stage, anna):
    codes = (await stage.door.begin(scope="read:content")).body
    async with stage.visitor() as page:
        await page.goto(codes["verification_uri_complete"])
        await picture(page, "phone-sign-in")
        await sign_in(page)
        # The code is filled in, and nothing has been decided: there are two more steps.
        await expect(page.get_by_label("Code")).to_have_value(codes["user_code"])
        await picture(page, "phone-code")
        await page.get_by_role("button", name="Continue").click()
        await heading(page, "Let “Living-room TV” use your account?")
        for told in (
            codes["user_code"],
            "127.0.0.1",
            "less than a minute ago",
            "See films and series",
            anna.email,
        ):
            await expect(page.get_by_text(told).first).to_be_visible()
        await expect(page.get_by_text("Refuse if you did not start this")).to_be_visible()
        await picture(page, "phone-confirm")
        assert (await stage.door.poll(codes["device_code"])).error in {"authorization_pending", "slow_down"}
        await page.get_by_role("button", name="Approve").click()
        await heading(page, "Done")
        await picture(page, "phone-done")
    tokens = await until_no_longer_pending(stage.door, codes["device_code"])
    assert tokens.status == 200
    assert stage.world.issued[0].subject == anna


async def test_a_person_refuses_with_the_keyboard_alone(stage):
    codes = (await stage.door.begin()).body
    async with stage.visitor(viewport=DESKTOP) as page:
        await page.goto(f"{stage.url}/device")
        # What to type into gets the focus on each page; a key pressed before that is lost.
        await expect(page.get_by_label("E-mail")).to_be_focused()
        await page.keyboard.type("anna@example.com")
        await page.keyboard.press("Tab")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await heading(page, "Sign in a device")
        await expect(page.get_by_label("Code")).to_be_focused()
        await page.keyboard.type(codes["user_code"].lower())
        await page.keyboard.press("Enter")
        await heading(page, "Let “Living-room TV” use your account?")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Refuse")).to_be_focused()
        await picture(page, "desktop-confirm")
        await page.keyboard.press("Enter")
        await heading(page, "Refused")
    assert (await until_no_longer_pending(stage.door, codes["device_code"])).error == "access_denied"


async def test_refusing_is_as_prominent_as_approving(stage):
    codes = (await stage.door.begin()).body
    for viewport in (PHONE, DESKTOP):
        async with stage.visitor(viewport=viewport, java_script_enabled=True) as page:
            await page.goto(codes["verification_uri_complete"])
            await sign_in(page)
            await page.get_by_role("button", name="Continue").click()
            looks = []
            for name in ("Refuse", "Approve"):
                button = page.get_by_role("button", name=name, exact=True)
                box = await button.bounding_box()
                style = await button.evaluate(
                    "b => { const s = getComputedStyle(b); return [s.color, s.backgroundColor, s.borderColor, s.fontSize] }"
                )
                assert box is not None
                looks.append((round(box["width"]), round(box["height"]), style))
            assert looks[0] == looks[1]
            assert looks[0][1] >= 44
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_wrong_passwords_and_unknown_people_are_told_the_same(stage):
    texts = []
    async with stage.visitor() as page:
        for email, password in (("anna@example.com", "wrong"), ("nobody@example.com", PASSWORD)):
            await page.goto(f"{stage.url}/auth/sign-in")
            await sign_in(page, email, password)
            texts.append(await page.get_by_role("alert").inner_text())
        await picture(page, "phone-sign-in-wrong")
    assert texts[0] == texts[1]


async def test_a_second_factor_is_asked_for_and_its_tries_are_counted(stage):
    stage.world.second_factor = "123456"
    async with stage.visitor() as page:
        await page.goto(f"{stage.url}/device")
        await sign_in(page)
        await picture(page, "phone-second-step")
        for _ in range(5):
            await page.get_by_label("Code").fill("000000")
            await page.get_by_role("button", name="Continue").click()
            await expect(page.get_by_role("alert")).to_have_text("This code is not right.")
        await page.get_by_label("Code").fill("123456")
        await page.get_by_role("button", name="Continue").click()
        await expect(page.get_by_role("alert")).to_contain_text("Please begin again")
        await sign_in(page)
        await page.get_by_label("Code").fill("123456")
        await page.get_by_role("button", name="Continue").click()
        await heading(page, "Sign in a device")


async def test_wrong_codes_are_explained_and_then_stopped(stage):
    async with stage.visitor(viewport=DESKTOP, color_scheme="dark") as page:
        await page.goto(f"{stage.url}/device")
        await picture(page, "desktop-sign-in-dark")
        await sign_in(page)
        for _ in range(5):
            await page.get_by_label("Code").fill(shown(make_user_code(8)))
            await page.get_by_role("button", name="Continue").click()
            await expect(page.get_by_role("alert")).to_contain_text("There is no device with this code")
        await picture(page, "desktop-wrong-code-dark")
        await page.get_by_label("Code").fill(shown(make_user_code(8)))
        await page.get_by_role("button", name="Continue").click()
        await expect(page.get_by_role("alert")).to_contain_text("Too many wrong codes")


async def test_each_sign_in_begins_a_new_session_that_scripts_and_other_sites_cannot_use(stage):
    async with stage.visitor() as page:
        seen = []
        for _ in range(2):
            await page.goto(f"{stage.url}/device")
            await sign_in(page)
            (cookie,) = [c for c in await page.context.cookies() if c["name"] == "mgw-session"]
            assert cookie["httpOnly"]
            assert cookie["sameSite"] == "Lax"
            seen.append(cookie["value"])
            await page.get_by_role("button", name="Not you? Sign out").click()
            await heading(page, "Sign in")
        assert seen[0] != seen[1]
        # The session has ended on the servers, too.
        await page.context.add_cookies([{"name": "mgw-session", "value": seen[1], "url": stage.url}])
        await page.goto(f"{stage.url}/device")
        await heading(page, "Sign in")


async def test_forms_that_we_did_not_make_do_nothing(stage):
    codes = (await stage.door.begin()).body
    async with stage.visitor() as page:
        await page.goto(f"{stage.url}/device")
        await sign_in(page)
        for path, form in (
            ("/device", {"user_code": codes["user_code"], "action": "approve"}),
            ("/device", {"user_code": codes["user_code"], "action": "approve", "form_secret": "guess"}),
            ("/auth/sign-out", {"form_secret": "guess"}),
            ("/auth/sign-in", {"email": "anna@example.com", "password": PASSWORD, "form_secret": "guess"}),
        ):
            answer = await page.request.post(stage.url + path, form=form, max_redirects=0)
            assert answer.status == 403, path
        await page.goto(f"{stage.url}/device")
        await heading(page, "Sign in a device")
    assert (await stage.door.poll(codes["device_code"])).error == "authorization_pending"


async def test_pages_load_nothing_from_elsewhere_and_run_no_script(stage):
    codes = (await stage.door.begin()).body
    async with stage.visitor(java_script_enabled=True) as page:
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        answer = await page.goto(codes["verification_uri_complete"])
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        await sign_in(page)
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_role("button", name="Approve").click()
        await heading(page, "Done")
        await picture(page, "phone-done-again")
        assert all(url.startswith(stage.url) for url in asked)
        assert [text for text in complaints if "favicon" not in text and "404" not in text] == []


async def test_a_code_in_the_address_is_shown_as_text(stage):
    async with stage.visitor(java_script_enabled=True) as page:
        await page.goto(f"{stage.url}/device?user_code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        await sign_in(page)
        await expect(page.get_by_label("Code")).to_have_value('"><script>alert(1)</script>')
        assert await page.locator("script").count() == 0
