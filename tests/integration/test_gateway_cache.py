"""Answers that the gateway keeps: which, for whom, how long, and what a caller learns of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from media_gateway.core.adapters.redis import RedisHandle
from tests.support.front_door import Service, bearer, gateway, service
from tests.support.servers import unused_port
from tests.support.waiting import eventually


@pytest.fixture
async def behind() -> AsyncIterator[Service]:
    async with service() as one:
        yield one


@pytest.fixture
async def door(behind: Service, redis_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with gateway(redis_url, discovery_url=behind.url, sync_url=behind.url) as session:
        yield session


async def state(door: aiohttp.ClientSession, path: str, **options: dict[str, str]) -> str | None:
    answer = await door.get(path, **options)  # type: ignore[arg-type]
    assert answer.status == 200
    return answer.headers.get("X-Cache")


async def kept(door: aiohttp.ClientSession, path: str) -> aiohttp.ClientResponse:
    """An answer to it once it is kept, which happens beside the first one."""

    async def hit() -> bool:
        return await state(door, path) == "HIT"

    await eventually(hit, timeout_s=10)
    return await door.get(path)


async def test_an_answer_is_kept_and_given_again(door: aiohttp.ClientSession, behind: Service):
    assert await state(door, "/api/v1/genres?a=1&b=2") == "MISS"
    first = await kept(door, "/api/v1/genres?a=1&b=2")
    asked = len(behind.asked)
    assert await state(door, "/api/v1/genres?b=2&a=1") == "HIT"
    assert await state(door, "/api/v1/genres?b=2&a=2") == "MISS"
    assert len(behind.asked) == asked + 1
    assert first.content_type == "application/json"
    assert 0 < int(first.headers["Cache-Control"].removeprefix("public, max-age=")) <= 60


async def test_replicas_share_what_is_kept(behind: Service, redis_url: str):
    async with (
        gateway(redis_url, discovery_url=behind.url) as one,
        gateway(redis_url, discovery_url=behind.url) as other,
    ):
        await kept(one, "/api/v1/genres")
        assert await state(other, "/api/v1/genres") == "HIT"


async def test_a_caller_who_has_the_answer_gets_no_body(door: aiohttp.ClientSession):
    first = await door.get("/api/v1/genres")
    tag = first.headers["ETag"]
    for wanted in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = await door.get("/api/v1/genres", headers={"If-None-Match": wanted})
        assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b"")
    other = await door.get("/api/v1/genres", headers={"If-None-Match": '"x"'})
    assert other.status == 200


async def test_what_a_person_gets_is_never_kept(door: aiohttp.ClientSession, behind: Service):
    for path in ("/api/v1/genres", "/api/v1/sync/watchlist"):
        for _ in range(3):
            assert await state(door, path, headers=bearer()) is None
    assert len(behind.asked) == 6
    assert await state(door, "/api/v1/genres") == "MISS"


@pytest.mark.parametrize(
    "headers",
    [{"Set-Cookie": "a=1"}, {"Cache-Control": "private"}, {"Cache-Control": "no-store"}, {"Vary": "Cookie"}],
)
async def test_what_the_service_calls_private_is_not_kept(
    door: aiohttp.ClientSession, behind: Service, redis: RedisHandle, headers: dict[str, str]
):
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="mine", headers=headers)

    behind.answer = answer
    for _ in range(3):
        assert await state(door, "/api/v1/genres") == "MISS"
    assert len(behind.asked) == 3
    assert not [key async for key in redis.client.scan_iter("gateway:*")]


async def test_errors_are_not_kept(door: aiohttp.ClientSession, behind: Service):
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=404)

    behind.answer = answer
    for _ in range(3):
        assert (await door.get("/api/v1/genres")).status == 404
    assert len(behind.asked) == 3


async def test_a_caller_may_ask_for_a_new_answer(door: aiohttp.ClientSession, behind: Service):
    await kept(door, "/api/v1/genres")
    asked = len(behind.asked)
    assert await state(door, "/api/v1/genres", headers={"Cache-Control": "no-cache"}) == "BYPASS"
    assert len(behind.asked) == asked + 1


async def test_without_redis_requests_go_through(behind: Service):
    async with gateway(f"redis://127.0.0.1:{unused_port()}/0", discovery_url=behind.url) as door:
        for _ in range(8):
            assert await state(door, "/api/v1/genres") == "BYPASS"
        assert (await door.get("/health/ready")).status == 200
