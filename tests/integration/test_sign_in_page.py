"""The sign-in page as it is deployed: the limit of the API's login is its limit, too."""

import pytest

from media_gateway.core.adapters.postgres import Database
from tests.support.signing_in import auth_stand, hidden

TRIES = 4


@pytest.fixture
async def stand(tmp_path, database_url, redis_url, database: Database):
    async with auth_stand(
        tmp_path, database_url, redis_url, database, replicas=2, rate_limit_login=TRIES
    ) as stand:
        yield stand


async def test_one_address_tries_many_accounts_only_so_often_by_page_and_api_together(stand):
    wrong = {"email": "nobody@tv.example", "password": "no password of anybody"}
    statuses = []
    async with stand.browser() as browser:
        page = await browser.get("/auth/sign-in")
        secret = hidden(page.text, "form_secret")
        for number in range(TRIES - 1):
            form = {**wrong, "email": f"{number}@tv.example", "form_secret": secret}
            statuses.append((await browser.post("/auth/sign-in", form)).status)
        by_api = await stand.send("POST", "/api/v1/auth/login", json=wrong)
        last = await browser.post("/auth/sign-in", {**wrong, "form_secret": secret})
    assert statuses == [401] * (TRIES - 1)
    assert by_api.status == 401
    assert last.status == 429
    assert 1 <= int(last.headers["Retry-After"]) <= 60
    assert last.headers["Content-Type"].startswith("text/html")
    assert (await stand.send("POST", "/api/v1/auth/login", json=wrong)).status == 429


async def test_signing_in_gives_the_browser_a_session_that_nobody_knew_before(stand):
    async with stand.browser() as browser:
        known = "x" * 43
        browser.http.cookie_jar.update_cookies({"mgw-session": known})
        assert (await browser.sign_in("anna@tv.example")).status == 303
        kept = {cookie.key: cookie.value for cookie in browser.http.cookie_jar}
    assert kept["mgw-session"] != known
    async with stand.browser() as thief:
        thief.http.cookie_jar.update_cookies({"mgw-session": known})
        assert (await thief.get("/device")).headers["Location"].startswith("/auth/sign-in")
