"""Postgres or Redis goes away in the middle of signing in: a clear answer, and what people hold is good afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from media_gateway.auth.clients import DEVICE_CODE
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import UnavailableError
from media_gateway.core.migrations import migrate
from tests.support.own_servers import killed
from tests.support.signing_in import Answer, Stand, auth_stand, hidden, request_of
from tests.support.waiting import eventually


@dataclass(slots=True)
class Place:
    """Auth on servers of its own."""

    stand: Stand
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis

    @asynccontextmanager
    async def without(self, server: EmbeddedPostgres | EmbeddedRedis) -> AsyncIterator[None]:
        await killed(server)
        yield
        await server.start()

    async def until_good(self, form: dict[str, str]) -> dict[str, Any]:
        """The tokens, as soon as the servers are noticed again; nothing but 503 is said before."""
        answers: list[Answer] = []

        async def is_good() -> bool:
            answers.append(await self.stand.token(**form))
            assert answers[-1].status in {200, 503}, answers[-1].text
            return answers[-1].status == 200

        await eventually(is_good, timeout_s=20, interval_s=0.2)
        return answers[-1].body


@pytest.fixture
async def place(tmp_path: Path):
    postgres, redis = EmbeddedPostgres(tmp_path / "servers"), EmbeddedRedis(tmp_path / "servers")
    async with postgres as database_url, redis as redis_url:
        await migrate(database_url)
        database = Database(database_url)
        async with auth_stand(tmp_path, database_url, redis_url, database) as stand:
            yield Place(stand, postgres, redis)
        await database.close()


def refused(answer: Answer) -> None:
    """A 503 that says when to come back, in OAuth's shape."""
    assert (answer.status, answer.error) == (503, "temporarily_unavailable"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1


async def approved_code(stand: Stand) -> dict[str, str]:
    """A poll whose code Anna has approved."""
    codes = (await stand.send("POST", "/auth/device", data={"client_id": "tv"})).body
    async with stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        page = await browser.get("/device")
        form = {"form_secret": hidden(page.text, "form_secret"), "user_code": codes["user_code"]}
        assert (await browser.post("/device", {**form, "action": "approve"})).status == 200
    return {"grant_type": DEVICE_CODE, "device_code": codes["device_code"], "client_id": "tv"}


async def grants(stand: Stand) -> int:
    while True:
        # Connections of the test's own pool died with the server, too.
        with suppress(UnavailableError):
            return int((await stand.run("SELECT count(*) AS n FROM oauth_grants"))[0].n)


async def test_a_code_and_a_refresh_token_outlive_an_outage_of_postgres(place: Place):
    stand = place.stand
    tokens = await stand.signed_in()
    async with stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        code = (await browser.agree(request_of())).returned["code"]
    async with place.without(place.postgres):
        refused(await stand.redeem(code))
        refused(await stand.refresh(tokens["refresh_token"]))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": "web"}
    await place.until_good(form)
    assert await grants(stand) == 1
    assert (await stand.redeem(code)).status == 200
    assert await grants(stand) == 2


async def test_an_approved_tv_gets_its_tokens_after_an_outage_of_postgres(place: Place):
    form = await approved_code(place.stand)
    async with place.without(place.postgres):
        for _ in range(3):
            refused(await place.stand.token(**form))
    tokens = await place.until_good(form)
    assert await place.stand.is_active(tokens["access_token"])
    assert await grants(place.stand) == 1


async def test_without_redis_no_device_is_begun_and_refreshing_goes_on(place: Place):
    tokens = await place.stand.signed_in()
    async with place.without(place.redis):
        refused(await place.stand.send("POST", "/auth/device", data={"client_id": "tv"}))
        answer = await place.stand.refresh(tokens["refresh_token"])
        assert answer.status == 200, answer.text
        revoked = await place.stand.send(
            "POST", "/auth/revoke", data={"token": answer.body["refresh_token"], "client_id": "web"}
        )
        refused(revoked)
    # What can be known without Redis holds already; asking again tells the other services, too.
    assert (await place.stand.refresh(answer.body["refresh_token"])).error == "invalid_grant"
    form = {"token": answer.body["refresh_token"], "client_id": "web"}

    async def is_revoked() -> bool:
        again = await place.stand.send("POST", "/auth/revoke", data=form)
        return again.status == 200 and not await place.stand.is_active(answer.body["access_token"])

    await eventually(is_revoked, timeout_s=20, interval_s=0.2)


async def test_a_page_says_that_it_does_not_work_at_the_moment(place: Place):
    async with place.stand.browser() as browser:
        await browser.sign_in("anna@tv.example")
        async with place.without(place.postgres):
            page = await browser.get(f"/auth/authorize?{request_of()}")
    assert page.status == 503
    assert "try again" in page.text
    assert "Location" not in page.headers
