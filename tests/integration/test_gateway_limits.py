"""Limits at the front door: by tier and caller, before any service is asked, whatever a caller says of himself."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from media_gateway.core.service_tokens import HEADER, mint_internal
from tests.support.front_door import SECRET, Service, bearer, gateway, service

BURSTS = {"free": 20, "pro": 100}


@pytest.fixture
async def behind() -> AsyncIterator[Service]:
    async with service() as one:
        yield one


@pytest.fixture
async def door(behind: Service, redis_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with gateway(redis_url, discovery_url=behind.url, ratelimit_dry_run=False) as session:
        yield session


async def statuses(
    door: aiohttp.ClientSession, count: int, headers: dict[str, str] | None = None
) -> list[int]:
    """What so many requests at once get."""

    async def one() -> int:
        async with door.post("/api/v1/search", json={}, headers=headers) as answer:
            return answer.status

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_callers_without_a_token_have_a_burst_of_ten(door: aiohttp.ClientSession, behind: Service):
    got = await statuses(door, 40)
    # At five a second, more than a few more than the burst only get in if the machine stands still meanwhile.
    assert 10 <= got.count(200) < 40
    assert got.count(200) + got.count(429) == 40
    assert len(behind.asked) == got.count(200)


async def test_who_waits_as_long_as_told_gets_in(door: aiohttp.ClientSession):
    while (refused := await door.post("/api/v1/search", json={})).status == 200:
        assert "anonymous-second" in refused.headers["RateLimit"]
    assert refused.status == 429
    problem = await refused.json()
    assert problem["code"] == "rate_limited"
    await asyncio.sleep(int(refused.headers["Retry-After"]))
    assert (await door.post("/api/v1/search", json={})).status == 200


@pytest.mark.parametrize("tier", ["free", "pro"])
async def test_a_token_has_the_limits_of_its_tier(door: aiohttp.ClientSession, tier: str):
    got = await statuses(door, 200, bearer(tier=tier))
    assert BURSTS[tier] <= got.count(200) < 200
    if tier == "free":
        assert got.count(200) < BURSTS["pro"]


async def test_callers_do_not_use_up_each_others_limits(door: aiohttp.ClientSession):
    assert 429 in await statuses(door, 40, bearer(subject="ana"))
    assert await statuses(door, 5, bearer(subject="ben")) == [200] * 5


async def test_made_up_addresses_and_headers_do_not_help(door: aiohttp.ClientSession):
    got = []
    for number in range(40):
        forged = {
            "X-Forwarded-For": f"10.0.0.{number}",
            "X-Internal-Service": "sync",
            HEADER: "made.up.token",
        }
        got += await statuses(door, 1, forged)
    assert 429 in got


async def test_a_trusted_proxy_tells_sources_apart(behind: Service, redis_url: str):
    async with gateway(
        redis_url, discovery_url=behind.url, ratelimit_dry_run=False, trusted_proxies="127.0.0.0/8"
    ) as door:
        for number in range(30):
            assert await statuses(door, 1, {"X-Forwarded-For": f"6.6.6.6, 192.0.2.{number}"}) == [200]
        told = await (await door.post("/api/v1/search", headers={"X-Forwarded-For": "192.0.2.77"})).json()
    assert ["x-forwarded-for", "192.0.2.77, 127.0.0.1"] in told["headers"]


async def test_a_service_with_its_token_is_not_limited_and_keeps_it_to_itself(
    door: aiohttp.ClientSession, behind: Service
):
    token = {HEADER: mint_internal(SECRET, "sync")}
    assert await statuses(door, 40, token) == [200] * 40
    told = await (await door.post("/api/v1/search", headers=token)).json()
    assert HEADER.lower() not in dict(told["headers"])


async def test_guessing_tokens_is_limited_too(door: aiohttp.ClientSession):
    got = await statuses(door, 40, {"Authorization": "Bearer guess"})
    assert set(got) == {401, 429}


async def test_health_is_never_limited(door: aiohttp.ClientSession):
    for _ in range(60):
        assert (await door.get("/health/live")).status == 200


async def test_a_document_limits_one_address(behind: Service, redis_url: str, tmp_path: Path):
    path = tmp_path / "limits.json"
    limit = {
        "name": "similar",
        "component": "gateway",
        "endpoints": ["content/{content_id}/similar"],
        "algorithm": "SlidingWindow",
        "rates": [{"limit": 2, "windowMs": 600_000}],
        "key": [{"source": "IP"}],
    }
    path.write_text(json.dumps({"builtIn": False, "limits": [limit]}))
    async with gateway(
        redis_url, discovery_url=behind.url, ratelimit_dry_run=False, ratelimit_path=path
    ) as door:
        got = [(await door.get(f"/api/v1/content/{n}/similar")).status for n in range(3)]
        assert got == [200, 200, 429]
        assert (await door.get("/api/v1/content/1")).status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_addresses_that_do_not_exist_count_like_all_others(door: aiohttp.ClientSession, method: str):
    async def one(number: int) -> int:
        path = f"/nowhere/{number}" if method == "GET" else "/api/v1/genres"
        async with door.request(method, path, headers={"Authorization": "Bearer nonsense"}) as answer:
            return answer.status

    got = await asyncio.gather(*(one(n) for n in range(40)))
    assert got.count(429) > 0
    assert set(got) == {404 if method == "GET" else 405, 429}
    assert got.count(429) < 40
    assert 429 in await statuses(door, 10)


async def test_a_caller_pays_for_made_up_addresses_with_his_own_limits(door: aiohttp.ClientSession):
    for _ in range(20):
        answer = await door.get("/nowhere", headers=bearer(tier="pro"))
        assert answer.status == 404
        assert '"pro-minute"' in answer.headers["RateLimit"]
    assert (await statuses(door, 1)) == [200]
