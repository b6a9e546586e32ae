"""Revoked tokens: what one process takes back, the others refuse; on a real Redis that forgets, hangs and comes back."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.revoked import CHANGES, KEPT_ON_S, KEY, RevokedTokens
from media_gateway.core.tokens import mint_token
from tests.support.echo_component import SECRET
from tests.support.own_servers import paused
from tests.support.processes import REPOSITORY, module
from tests.support.waiting import eventually

MINE = "/api/v1/recommendations"
"""Needs a token; the gateway of these tests has no such service, so that a good token gets 503."""


@asynccontextmanager
async def list_of(redis: RedisHandle) -> AsyncIterator[RevokedTokens]:
    revoked = RevokedTokens(redis)
    yield revoked
    await revoked.close()


async def test_a_revoked_grant_is_soon_refused_by_another_process(
    redis: RedisHandle, redis_url: str, free_port: int
):
    environment = {
        "MEDIA_GATEWAY_REDIS_URL": redis_url,
        "MEDIA_GATEWAY_AUTH_SECRET": SECRET,
        "MEDIA_GATEWAY_SERVICE_PORT": str(free_port),
        "MEDIA_GATEWAY_METRICS_PORT": "0",
    }
    gone, kept = (mint_token(SECRET, "user-1", more={"sid": name}) for name in ("grant-1", "grant-2"))
    async with AsyncExitStack() as stack:
        process = await asyncio.create_subprocess_exec(
            *module("media_gateway.gateway"),
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            stderr=asyncio.subprocess.DEVNULL,
        )
        stack.push_async_callback(process.wait)
        stack.callback(process.kill)
        session = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{free_port}"))
        revoked = await stack.enter_async_context(list_of(redis))

        async def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with session.get(MINE, headers=headers) as answer:
                    return answer.status
            except aiohttp.ClientConnectorError:
                return 0

        async def answers(token: str, wanted: int) -> bool:
            return await status(token) == wanted

        await eventually(lambda: answers(gone, 503), timeout_s=60, interval_s=0.25)
        await revoked.add("grant-1", time.time() + 60)
        await eventually(lambda: answers(gone, 401), interval_s=0.25)
        assert await status(kept) == 503


async def test_an_unchanged_list_is_not_read_again(redis: RedisHandle):
    async with list_of(redis) as here, list_of(redis) as there:
        await here.add("a", time.time() + 60)
        await there.look()
        assert "a" in there
        await redis.client.delete(KEY)
        before = (await redis.client.info("commandstats")).get("cmdstat_zrange", {}).get("calls", 0)
        await there.look()
        after = (await redis.client.info("commandstats")).get("cmdstat_zrange", {}).get("calls", 0)
        assert after == before


async def test_a_server_that_lost_its_data_revives_no_token_and_hides_no_new_revocation(redis: RedisHandle):
    async with list_of(redis) as here, list_of(redis) as there:
        await here.add("a", time.time() + 60)
        await there.look()
        await redis.client.delete(KEY, CHANGES)
        await here.add("b", time.time() + 60)
        await there.look()
        assert {"a", "b"} <= {name for name in ("a", "b", "c") if name in there}


async def test_a_name_is_forgotten_some_time_after_its_tokens_expired_and_never_early(redis: RedisHandle):
    async with list_of(redis) as here, list_of(redis) as there:
        await here.add("over", time.time() - KEPT_ON_S - 1)
        await here.add("long", time.time() + 600)
        await here.add("long", time.time() + 1)
        await here.look()
        await there.look()
        assert "over" not in here
        assert "over" not in there
        assert await redis.client.zscore(KEY, "over") is None
        assert float(await redis.client.zscore(KEY, "long") or 0) > time.time() + 500
        assert 500 < await redis.client.ttl(KEY) <= 601 + KEPT_ON_S


@pytest.mark.parametrize("name", ["grant", "ünïcode \n"])
async def test_names_come_through_as_they_are(redis: RedisHandle, name: str):
    async with list_of(redis) as here, list_of(redis) as there:
        await here.add(name, time.time() + 60)
        await there.look()
        assert name in there


async def test_a_hanging_redis_leaves_what_is_known_and_shows_in_health(tmp_path: Path):
    server = EmbeddedRedis(tmp_path)
    async with server as url:
        redis = RedisHandle(url)
        async with list_of(redis) as revoked:
            await revoked.add("a", time.time() + 60)
            await revoked.look()
            assert await revoked.health() is None
            with paused(server):
                await revoked.look()
                assert "a" in revoked
                assert "can't be read" in (await revoked.health() or "")
            await revoked.look()
            assert await revoked.health() is None
        await redis.close()
