"""API keys at the front door: before a real auth, and before one that can be made to misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.service_tokens import HEADER, mint_internal
from media_gateway.core.tokens import mint_token
from media_gateway.gateway.api_keys import KEPT_S, REFUSED_S, KeyExchange
from tests.support.credentials import SCOPES, add_person, run, serve
from tests.support.front_door import SECRET, Service, gateway, service

KEY = "mg_live_" + "a" * 32
OTHER = "mg_live_" + "b" * 32


@pytest.fixture
async def behind() -> AsyncIterator[Service]:
    async with service() as one:
        yield one


@pytest.fixture
async def auth() -> AsyncIterator[Service]:
    """Says of every key that it is ana's, a `pro`."""
    async with service() as one:
        one.answer = granting()
        yield one


def granting(*, expires_in: int = 300) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        token = mint_token(SECRET, "ana", scopes=SCOPES, tier="pro", more={"via": "api_key"})
        return web.json_response({"access_token": token, "expires_in": expires_in})

    return answer


def saying(status: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"error": "x"}, status=status, headers=headers)

    return answer


@asynccontextmanager
async def opened(redis_url: str, auth_url: str, behind: Service, **more: Any) -> AsyncIterator[Any]:
    urls = {"auth_url": auth_url, "discovery_url": behind.url, "sync_url": behind.url}
    async with gateway(redis_url, **urls, **more) as session:
        yield session


@pytest.fixture
async def door(redis_url: str, auth: Service, behind: Service) -> AsyncIterator[aiohttp.ClientSession]:
    async with opened(redis_url, auth.url, behind) as session:
        yield session


async def ask(
    door: aiohttp.ClientSession, headers: dict[str, str], path: str = "/api/v1/sync/watchlist"
) -> Any:
    async with door.get(path, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


def passed(body: dict[str, Any]) -> dict[str, str]:
    return dict(body["headers"])


WAYS = [
    {"Authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer   {KEY} "},
    {"X-API-Key": KEY},
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_service_sees_a_token_in_place_of_the_key(door: aiohttp.ClientSession, way: dict[str, str]):
    status, body, _ = await ask(door, way)
    assert status == 200
    headers = passed(body)
    scheme, _, token = headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "ana"
    assert "x-api-key" not in headers
    assert KEY not in json.dumps(body)


async def test_auth_is_asked_by_a_service_and_once_a_minute(door: aiohttp.ClientSession, auth: Service):
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.headers.get(HEADER), await request.json()))
        return await granting()(request)

    auth.answer = answer
    for way in WAYS * 3:
        assert (await ask(door, way))[0] == 200
    ((proof, body),) = asked
    assert proof
    assert body == {"key": KEY}
    assert auth.asked == ["/auth/api-keys/exchange"]


async def test_many_at_once_make_one_call(door: aiohttp.ClientSession, auth: Service):
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return await granting()(request)

    auth.answer = answer
    asking = [asyncio.create_task(ask(door, {"X-API-Key": KEY})) for _ in range(20)]
    await asked.wait()
    for _ in range(5):  # whoever else would ask has asked by then
        assert (await ask(door, {}, "/health/live"))[0] == 200
    go.set()
    assert {status for status, *_ in await asyncio.gather(*asking)} == {200}
    assert len(auth.asked) == 1


async def test_two_keys_are_not_mixed_up(door: aiohttp.ClientSession, auth: Service):
    async def answer(request: web.Request) -> web.Response:
        name = (await request.json())["key"][-1]
        token = mint_token(SECRET, name, more={"via": "api_key"})
        return web.json_response({"access_token": token, "expires_in": 300})

    auth.answer = answer

    async def subject(key: str) -> str:
        _, body, _ = await ask(door, {"X-API-Key": key})
        token = passed(body)["authorization"].split()[1]
        return str(jwt.decode(token, options={"verify_signature": False})["sub"])

    found = await asyncio.gather(*(subject(key) for key in [KEY, OTHER] * 10))
    assert found == ["a", "b"] * 10


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY, "Authorization": f"Bearer {KEY}"},
        {"X-API-Key": KEY, "Authorization": f"Bearer {mint_token(SECRET, 'ben')}"},
        {"X-API-Key": "nonsense"},
        {"X-API-Key": ""},
        {"X-API-Key": KEY + "a"},
        {"X-API-Key": "mg_live_" + "é" * 32},
        {"Authorization": "Bearer mg_live_"},
        {"Authorization": f"Bearer {KEY} {KEY}"},
        {"Authorization": f"Basic {KEY}"},
    ],
)
async def test_what_is_no_single_key_is_refused_unasked(
    door: aiohttp.ClientSession, auth: Service, behind: Service, headers: dict[str, str]
):
    status, body, answered = await ask(door, headers)
    assert (status, body["code"]) == (401, "unauthenticated")
    assert "WWW-Authenticate" in answered
    assert auth.asked == []
    assert behind.asked == []


async def test_a_refused_key_is_not_asked_for_again_at_once(
    door: aiohttp.ClientSession, auth: Service, behind: Service
):
    auth.answer = saying(401)
    for _ in range(5):
        assert (await ask(door, {"X-API-Key": KEY}))[0] == 401
    # Also where a token is a choice: a key that was sent must be good.
    assert (await ask(door, {"X-API-Key": KEY}, "/api/v1/content/trending"))[0] == 401
    assert len(auth.asked) == 1
    assert behind.asked == []


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def timed(
    redis_url: str, auth: Service, behind: Service, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[aiohttp.ClientSession, Clock]]:
    clock = Clock()
    monkeypatch.setattr(
        "media_gateway.gateway.app.KeyExchange", lambda settings: KeyExchange(settings, clock=clock)
    )
    async with opened(redis_url, auth.url, behind) as session:
        yield session, clock


@pytest.mark.parametrize(("expires_in", "kept_s"), [(300, KEPT_S), (50, 20.0), (31, 1.0)])
async def test_a_token_is_used_until_shortly_before_its_end(
    timed: tuple[aiohttp.ClientSession, Clock], auth: Service, expires_in: int, kept_s: float
):
    door, clock = timed
    auth.answer = granting(expires_in=expires_in)
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 200
    clock.now += kept_s - 0.1
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 200
    assert len(auth.asked) == 1
    clock.now += 0.2
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 200
    assert len(auth.asked) == 2


async def test_a_refusal_is_forgotten_after_a_while(
    timed: tuple[aiohttp.ClientSession, Clock], auth: Service
):
    door, clock = timed
    auth.answer = saying(401)
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 401
    auth.answer = granting()
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 401
    clock.now += REFUSED_S + 0.1
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 200


async def test_memory_is_bounded(door: aiohttp.ClientSession, auth: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("media_gateway.gateway.api_keys.MOST_KEPT", 2)
    keys = ["mg_live_" + letter * 32 for letter in "abc"]
    for key in keys:
        await ask(door, {"X-API-Key": key})
    await ask(door, {"X-API-Key": keys[2]})
    await ask(door, {"X-API-Key": keys[1]})
    assert len(auth.asked) == 3
    await ask(door, {"X-API-Key": keys[0]})
    assert len(auth.asked) == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 404, 400])
async def test_while_auth_fails_callers_are_told_to_come_again(
    door: aiohttp.ClientSession, auth: Service, status: int
):
    auth.answer = saying(status)
    got, body, headers = await ask(door, {"X-API-Key": KEY})
    assert (got, body["code"]) == (503, "unavailable")
    assert int(headers["Retry-After"]) >= 1
    # Nothing of it is kept.
    auth.answer = granting()
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 200


@pytest.mark.parametrize("body", ["[]", "{}", '{"access_token": "x"}', "no JSON"])
async def test_a_strange_answer_of_auth_is_no_500(door: aiohttp.ClientSession, auth: Service, body: str):
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    auth.answer = answer
    assert (await ask(door, {"X-API-Key": KEY}))[0] == 503


async def test_without_auth_keys_wait_and_others_do_not(redis_url: str, behind: Service, free_port: int):
    async with opened(redis_url, f"http://127.0.0.1:{free_port}", behind) as door:
        status, _, headers = await ask(door, {"X-API-Key": KEY})
        assert status == 503
        assert "Retry-After" in headers
        token = {"Authorization": f"Bearer {mint_token(SECRET, 'ben')}"}
        assert (await ask(door, token))[0] == 200
        assert (await ask(door, {}, "/api/v1/genres"))[0] == 200


async def test_an_installation_without_auth_says_so(redis_url: str, behind: Service):
    async with gateway(redis_url, sync_url=behind.url) as door:
        status, body, _ = await ask(door, {"X-API-Key": KEY})
        assert (status, body["code"]) == (503, "not_configured")
        assert "MEDIA_GATEWAY_AUTH_URL" in body["detail"]


async def test_a_gateway_with_another_secret_says_so(door: aiohttp.ClientSession, auth: Service):
    auth.answer = saying(403)
    status, body, _ = await ask(door, {"X-API-Key": KEY})
    assert (status, body["code"]) == (503, "not_configured")


async def test_limits_are_those_of_the_owner(redis_url: str, auth: Service, behind: Service):
    async with opened(redis_url, auth.url, behind, ratelimit_dry_run=False) as door:

        async def one() -> int:
            async with door.post("/api/v1/search", json={}, headers={"X-API-Key": KEY}) as answer:
                return int(answer.status)

        statuses = await asyncio.gather(*(one() for _ in range(60)))
        # A caller without a token has a burst of 10, one of the tier `pro` of 100.
        assert statuses == [200] * 60


async def test_what_a_key_gets_is_not_kept_for_others(door: aiohttp.ClientSession, behind: Service):
    for _ in range(2):
        _, _, headers = await ask(door, {"X-API-Key": KEY}, "/api/v1/genres")
        assert "X-Cache" not in headers
    assert len(behind.asked) == 2


async def test_nobody_outside_exchanges_keys(
    redis_url: str, database_url: str, behind: Service, database: Database
):
    server = await serve(database_url, redis_url)
    try:
        async with opened(redis_url, server.url, behind) as door:
            proof = {HEADER: mint_internal(SECRET, "gateway")}
            async with door.post("/auth/api-keys/exchange", json={"key": KEY}, headers=proof) as answer:
                assert answer.status == 403
    finally:
        await server.drain()


async def test_from_making_a_key_to_its_end_through_the_gateway(
    redis_url: str, database_url: str, behind: Service, database: Database
):
    user_id = await add_person(database)
    token = {"Authorization": f"Bearer {mint_token(SECRET, str(user_id), scopes=SCOPES)}"}
    server = await serve(database_url, redis_url)
    try:
        async with opened(redis_url, server.url, behind) as door:
            wish = {"name": "script", "scopes": ["read:content"]}
            async with door.post("/api/v1/api-keys", json=wish, headers=token) as answer:
                assert answer.status == 201
                made = await answer.json()
            key = {"X-API-Key": made["key"]}
            with capture_logs() as lines:
                status, body, _ = await ask(door, key)
                # At auth, which looks at tokens itself: a key makes and lists no keys.
                assert (await ask(door, key, "/api/v1/api-keys"))[0] == 403
                assert (await ask(door, {"Authorization": f"Bearer {made['key']}"}, "/api/v1/mfa/state"))[
                    0
                ] == 403
            assert made["key"][12:] not in str(lines)
            assert status == 200
            assert jwt.decode(passed(body)["authorization"].split()[1], options={"verify_signature": False})[
                "sub"
            ] == str(user_id)
            async with door.delete(f"/api/v1/auth/api-keys/{made['id']}", headers=token) as answer:
                assert answer.status == 204
        # Another replica of the gateway, or this one a minute later.
        async with opened(redis_url, server.url, behind) as door:
            assert (await ask(door, key))[0] == 401
    finally:
        await server.drain()
    assert len(await run(database, "SELECT 1 FROM api_keys WHERE last_used_at IS NOT NULL")) == 1
