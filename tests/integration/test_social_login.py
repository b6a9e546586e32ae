"""Signing in by a provider: a real browser's steps, a real provider, Postgres and Redis; the faults of each."""

import asyncio
import html
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from structlog.testing import capture_logs

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.tokens import mint_token
from tests.support.credentials import SECRET, App, Clock, Door, add_person, audited, run
from tests.support.oidc_provider import (
    CLIENT_SECRET,
    Claims,
    Provider,
    provider,
)
from tests.support.social import Browser, Page, provider_entry, serve_social

ANN = {"sub": "ann-at-work", "email": "ann@work.example", "email_verified": True, "name": "Ann"}


@pytest.fixture
async def work() -> AsyncIterator[Provider]:
    async with provider() as one:
        one.person = dict(ANN)
        yield one


@pytest.fixture
async def site(work: Provider, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[str]:
    server = await serve_social(
        database_url, redis_url, tmp_path, [provider_entry(work), provider_entry(work, "other")]
    )
    yield server.url
    await server.drain()


@pytest.fixture
async def browser(site: str) -> AsyncIterator[Browser]:
    browser = Browser(site)
    yield browser
    await browser.close()


@pytest.fixture
async def another(site: str) -> AsyncIterator[Browser]:
    browser = Browser(site)
    yield browser
    await browser.close()


async def emails(database: Database) -> list[str]:
    return [row.email for row in await run(database, "SELECT email FROM users ORDER BY email")]


def is_clear(page: Page, *words: str) -> bool:
    text = html.unescape(page.text)
    return "You are not signed in" in text and all(word in text for word in words)


async def test_who_is_new_gets_an_account_and_is_signed_in(
    browser: Browser, database: Database, work: Provider
):
    page = await browser.sign_in(query="?return_to=/device?user_code=BCDF-GHJK")
    assert (page.status, page.location) == (303, "/device?user_code=BCDF-GHJK")
    assert "no-store" in page.headers["Cache-Control"]
    assert await browser.account() == "ann@work.example"
    (row,) = await run(database, "SELECT display_name, password_hash, email_verified_at FROM users")
    assert (row.display_name, row.password_hash) == ("Ann", None)
    assert row.email_verified_at is not None
    assert await audited(database) == ["account.created", "account.signed_in"]


async def test_who_comes_again_has_the_same_account_whatever_the_address(
    browser: Browser, another: Browser, database: Database, work: Provider
):
    await browser.sign_in()
    work.person |= {"email": "ann@new.example", "email_verified": False}
    assert (await another.sign_in()).status == 303
    assert await another.account() == "ann@work.example"
    assert await emails(database) == ["ann@work.example"]


async def test_the_provider_is_asked_with_pkce_nonce_and_state(browser: Browser, work: Provider):
    address = await browser.to_provider()
    assert address.startswith(f"{work.url}/authorize?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert min(len(query["state"]), len(query["nonce"])) >= 43
    assert query["redirect_uri"] == f"{browser.site}/auth/oauth/work/callback"
    again = parse_qs(urlsplit(await browser.to_provider()).query)
    assert all(again[name][0] != query[name] for name in ("state", "nonce", "code_challenge"))


async def test_the_sign_in_page_has_a_button_for_each_provider(browser: Browser):
    page = await browser.get("/auth/sign-in?return_to=/device?user_code=BCDF-GHJK")
    for name in ("work", "other"):
        href = f"/auth/oauth/{name}/authorize?return_to=/device%3Fuser_code%3DBCDF-GHJK"
        assert f'href="{href}"' in page.text
    assert "Continue with Work" in page.text
    done = await browser.sign_in(query="?return_to=/device%3Fuser_code%3DBCDF-GHJK")
    assert done.location == "/device?user_code=BCDF-GHJK"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%0d%0aX: y",
        "javascript:alert(1)",
        "device",
    ],
)
async def test_nobody_is_sent_elsewhere_afterwards(browser: Browser, target: str):
    page = await browser.sign_in(query=f"?return_to={target}")
    assert page.status == 303
    parts = urlsplit(page.location)
    assert (parts.scheme, parts.netloc) == ("", "")
    assert page.location.startswith("/")
    assert not page.location.startswith("//")
    assert "\\" not in page.location


async def test_a_callback_is_good_once(browser: Browser, another: Browser, work: Provider):
    back = await browser.back_from(await browser.to_provider())
    assert (await browser.get(back)).status == 303
    again = await browser.get(back)
    assert again.status == 403
    assert is_clear(again, "begin again")


async def test_of_many_callbacks_at_once_one_signs_in(browser: Browser, database: Database):
    back = await browser.back_from(await browser.to_provider())
    pages = await asyncio.gather(*(browser.get(back) for _ in range(6)))
    assert sorted(page.status for page in pages) == [303] + [403] * 5
    assert await emails(database) == ["ann@work.example"]


async def test_another_browser_gets_nothing_and_spoils_nothing(browser: Browser, another: Browser):
    back = await browser.back_from(await browser.to_provider())
    assert (await another.get(back)).status == 403
    await another.to_provider()  # with a cookie of its own
    assert (await another.get(back)).status == 403
    assert await another.account() is None
    assert (await browser.get(back)).status == 303


async def test_a_callback_of_another_provider_is_refused(browser: Browser):
    back = await browser.back_from(await browser.to_provider())
    browser.copy_cookie("mgw-social-work", to="mgw-social-other")
    page = await browser.get(back.replace("/work/", "/other/"))
    assert page.status == 403
    assert is_clear(page, "begin again")  # the provider was not asked
    assert await browser.account() is None


async def test_two_tabs_do_not_spoil_each_other(browser: Browser):
    first, second = await browser.to_provider(), await browser.to_provider()
    assert (await browser.get(await browser.back_from(second))).status == 303
    assert (await browser.get(await browser.back_from(first))).status == 303


async def test_two_first_sign_ins_at_once_make_one_account(
    browser: Browser, another: Browser, database: Database
):
    backs = [await one.back_from(await one.to_provider()) for one in (browser, another)]
    pages = await asyncio.gather(browser.get(backs[0]), another.get(backs[1]))
    assert [page.status for page in pages] == [303, 303]
    assert await emails(database) == ["ann@work.example"]
    assert await browser.account() == await another.account() == "ann@work.example"


async def test_an_account_with_the_address_is_not_taken_over(
    browser: Browser, database: Database, work: Provider
):
    await add_person(database)
    work.person["email"] = "Ann@TV.example"
    page = await browser.sign_in()
    assert page.status == 409
    assert is_clear(page, "There is an account with your e-mail address")
    assert "/auth/sign-in?return_to=/auth/oauth/work/link" in page.text
    assert await browser.account() is None
    assert await run(database, "SELECT 1 FROM oauth_identities") == []


async def test_who_signs_in_by_password_can_link(
    browser: Browser, another: Browser, database: Database, work: Provider
):
    await add_person(database)
    work.person["email"] = "ann@tv.example"
    address = "/auth/oauth/work/link"
    asked = await browser.get(address)
    assert asked.location == f"/auth/sign-in?return_to={address}"
    assert (await browser.sign_in_by_password("ann@tv.example", address)).location == address
    shown = await browser.get(address)
    assert "form-action 'self' https:" in shown.headers["Content-Security-Policy"]
    forged = await browser.post(address, form_secret="x")
    assert forged.status == 403
    sent = await browser.post(address, form_secret=shown.field("form_secret"))
    done = await browser.get(await browser.back_from(sent.location))
    assert (done.status, "sign in with Work, too" in done.text) == (200, True)
    assert (await another.sign_in()).status == 303
    assert await another.account() == "ann@tv.example"
    assert await audited(database) == ["identity.linked", "account.signed_in"]


async def link(browser: Browser) -> Page:
    shown = await browser.get("/auth/oauth/work/link")
    sent = await browser.post("/auth/oauth/work/link", form_secret=shown.field("form_secret"))
    return await browser.get(await browser.back_from(sent.location))


async def test_an_identity_is_one_persons_only(browser: Browser, another: Browser, database: Database):
    await add_person(database, "ben")
    assert (await browser.sign_in()).status == 303
    await another.sign_in_by_password("ben@tv.example")
    assert (await link(another)).status == 409
    assert (await link(browser)).status == 200  # has it already
    assert len(await run(database, "SELECT 1 FROM oauth_identities")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "false"},
        {"email_verified": [True]},
        {"email": None},
        {"email": 7},
        {"email": "no address"},
        {"email": "a@"},
        {"email": "a\x00@b.example"},
        {"email": "x" * 250 + "@b.example"},
    ],
)
async def test_without_a_verified_address_no_account_is_made(
    browser: Browser, database: Database, work: Provider, change: Claims
):
    work.person |= change
    page = await browser.sign_in()
    assert page.status == 403
    assert is_clear(page, "verified")
    assert await emails(database) == []


async def test_a_strange_name_is_no_trouble(browser: Browser, database: Database, work: Provider):
    work.person["name"] = "A\x00n\u202en <b>" + "x" * 500
    assert (await browser.sign_in()).status == 303
    (row,) = await run(database, "SELECT display_name FROM users")
    assert row.display_name.startswith("Ann <b>x")
    assert len(row.display_name) == 100


@pytest.mark.parametrize("change", ["locked_at = now()", "deleted_at = now(), email = NULL"])
async def test_who_is_locked_stays_out(browser: Browser, another: Browser, database: Database, change: str):
    await browser.sign_in()
    await run(database, f"UPDATE users SET {change}")
    page = await another.sign_in()
    assert page.status == 403
    assert is_clear(page, "locked")
    assert await another.account() is None


async def test_a_second_factor_is_asked_for_here_too(browser: Browser, another: Browser, database: Database):
    await browser.sign_in()
    (row,) = await run(database, "SELECT id FROM users")
    token = mint_token(SECRET, str(row.id))
    clock = Clock()
    async with aiohttp.ClientSession() as http:
        door = Door(http, browser.site)
        enrolled = await door.send("POST", "/api/v1/mfa/enroll", token)
        app = App(enrolled.body["otpauth_uri"], clock)
        code = {"code": app.shown()}
        backup = (await door.send("POST", "/api/v1/mfa/verify", token, json=code)).body["backup_codes"]
    page = await another.sign_in()
    assert (page.status, "authenticator app" in page.text) == (200, True)
    assert await another.account() is None
    fields = {name: page.field(name) for name in ("form_secret", "return_to", "step")}
    assert (await another.post("/auth/sign-in/code", code="000000x", **fields)).status == 401
    assert (await another.post("/auth/sign-in/code", code=backup[0], **fields)).status == 303
    assert await another.account() == "ann@work.example"


@pytest.mark.parametrize("status", [500, 503, 429, 404, 302])
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
async def test_a_provider_that_fails_is_named_on_a_page(
    browser: Browser, work: Provider, path: str, status: int
):
    work.broken[path] = status
    if path.startswith("/.well"):
        page = await browser.get("/auth/oauth/work/authorize")
    else:
        page = await browser.sign_in()
    assert page.status in {403, 503}
    assert is_clear(page, "Work")
    assert "out of order" not in page.text
    work.broken.clear()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?state=x",
        "?code=x",
        "?state=x&code=y",
        "?state=&code=",
        "?error=access_denied",
        "?state=x&state=y&code=z",
        "?state=%00&code=%00",
        "?state=%ff&code=%ff",
        "?state=" + "x" * 201,
        "?code=" + "x" * 4_001,
    ],
)
async def test_a_broken_callback_is_a_page(browser: Browser, query: str):
    await browser.to_provider()
    page = await browser.get(f"/auth/oauth/work/callback{query}")
    assert page.status in {400, 403}
    assert is_clear(page)
    assert "<script" not in page.text
    posted = await browser.post("/auth/oauth/work/callback", state="x")
    assert posted.status == 403


async def test_a_refusal_at_the_provider_is_a_page(browser: Browser):
    state = parse_qs(urlsplit(await browser.to_provider()).query)["state"][0]
    page = await browser.get(f"/auth/oauth/work/callback?state={state}&error=access_denied")
    assert page.status == 403
    assert is_clear(page, "Work did not sign you in")


@pytest.mark.parametrize("name", ["nobody", "..", "%00", "x" * 41])
async def test_an_unknown_provider_is_a_page(browser: Browser, name: str):
    for path in ("authorize", "callback", "link"):
        assert (await browser.get(f"/auth/oauth/{name}/{path}")).status in {400, 404}


async def test_identities_are_listed_and_unlinked(browser: Browser, database: Database):
    await browser.sign_in()
    (row,) = await run(database, "SELECT id FROM users")
    ben = await add_person(database, "ben")
    token, stranger = mint_token(SECRET, str(row.id)), mint_token(SECRET, str(ben))
    key = mint_token(SECRET, str(row.id), more={"via": "api_key"})
    address = "/api/v1/users/me/identities"
    async with aiohttp.ClientSession() as http:
        door = Door(http, browser.site)
        (one,) = (await door.send("GET", address, token)).body["items"]
        assert (one["provider"], one["email"]) == ("work", "ann@work.example")
        assert (await door.send("GET", address, stranger)).body["items"] == []
        assert (await door.send("GET", address)).status == 401
        assert (await door.send("DELETE", f"{address}/work", key)).status == 403
        assert (await door.send("DELETE", f"{address}/work", stranger)).status == 404
        assert (await door.send("DELETE", f"{address}/%00", token)).status in {400, 404}
        only = await door.send("DELETE", f"{address}/work", token)
        assert only.status == 409
        assert "password" in only.body["detail"]
        await run(database, "UPDATE users SET password_hash = 'x'")
        assert (await door.send("DELETE", f"{address}/work", token)).status == 204
        assert (await door.send("GET", address, token)).body["items"] == []
        assert (await door.send("DELETE", f"{address}/work", token)).status == 404


async def test_no_code_and_no_token_is_in_the_logs(
    browser: Browser, work: Provider, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        address = await browser.to_provider()
        back = await browser.back_from(address)
        work.change = lambda claims: {**claims, "iss": "https://evil.example"}
        assert (await browser.get(back)).status == 403
        work.change = dict
        assert (await browser.sign_in()).status == 303
    text = f"{lines} {caplog.text}"
    assert "InvalidIssuerError" in text
    asked = parse_qs(urlsplit(back).query)
    for hidden in (
        *asked["code"],
        *asked["state"],
        *work.tokens,
        "at-secret",
        CLIENT_SECRET,
        "ann@work.example",
    ):
        assert hidden not in text
