"""The search cache while its Redis hangs, dies and comes back, under load. The Redis is the test's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.cache import CacheStore
from media_gateway.core.cache.asking import POLICY
from media_gateway.discovery.cache import AnswerCache, CacheKey, CacheState, Computed
from media_gateway.discovery.generation import TRUST_S, CatalogueGeneration
from tests.support.own_servers import killed, paused
from tests.support.waiting import eventually

KEYS = [CacheKey(f"search:1:{number}") for number in range(8)]
WORKERS = 16
PATIENCE_MS = 250.0
"""Ten times the usual: the machine of the tests is busy even while Redis is well."""


class Load:
    """Workers who search without a pause, and what they got."""

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache
        self._states: list[CacheState] = []
        self._over = False
        self.computed = 0

    async def _compute(self, key: CacheKey) -> Computed:
        self.computed += 1
        await asyncio.sleep(0.002)
        return Computed(key.encode() * 500, 1_800)

    async def _work(self, number: int) -> None:
        while not self._over:
            key = KEYS[number % len(KEYS)]
            number += 1
            answer = await self._cache.answer(key, lambda key=key: self._compute(key))  # type: ignore[misc]
            assert answer.body == key.encode() * 500
            self._states.append(answer.state)
            # As a request does between its socket and the cache: nothing else here is sure to.
            await asyncio.sleep(0)

    def taken(self) -> Counter[CacheState]:
        """States since the last call."""
        states, self._states = self._states, []
        return Counter(states)

    async def until(self, state: CacheState, count: int = 100) -> None:
        """Wait until so many answers in a row were of one state."""
        await eventually(
            lambda: len(self._states) >= count and set(self._states[-count:]) == {state}, timeout_s=30
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as workers:
            for number in range(WORKERS):
                workers.create_task(self._work(number))
            try:
                yield
            finally:
                # Told, not cancelled: before Python 3.12 redis-py may lose a cancellation (CPython #86296).
                self._over = True


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "state", durable=False)
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def opened(server: EmbeddedRedis, patience_ms: float = PATIENCE_MS) -> AsyncIterator[AnswerCache]:
    handle = RedisHandle(server.url)
    store = CacheStore(handle, patience_ms=patience_ms)
    cache = AnswerCache(store)
    try:
        yield cache
    finally:
        await cache.close()
        await store.close()
        await handle.close()


def refusals() -> float:
    return REGISTRY.get_sample_value("mgw_circuit_refused_total", {"upstream": "cache"}) or 0.0


def failed_stores() -> float:
    return REGISTRY.get_sample_value("mgw_cache_store_failures_total", {"reason": "redis"}) or 0.0


async def commands(handle: RedisHandle) -> dict[str, int]:
    stats = await handle.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}


async def test_a_hit_costs_one_get_and_nothing_else(own_redis):
    observer = RedisHandle(own_redis.url)
    async with opened(own_redis, patience_ms=5_000) as cache:
        load = Load(cache)

        async def hit() -> bool:
            return (await cache.answer(KEYS[0], lambda: load._compute(KEYS[0]))).state is CacheState.HIT

        await eventually(hit)
        before = await commands(observer)
        for _ in range(50):
            assert await hit()
        after = await commands(observer)
    spent = {name: calls - before.get(name, 0) for name, calls in after.items()}
    assert {name: calls for name, calls in spent.items() if calls and name != "info"} == {"get": 50}
    await observer.close()


async def test_while_redis_hangs_searches_go_on_and_afterwards_the_cache_does(own_redis):
    async with opened(own_redis) as cache:
        load = Load(cache)
        async with load.running():
            await load.until(CacheState.HIT)
            load.taken()
            refused = refusals()
            with paused(own_redis):
                await load.until(CacheState.BYPASS)
                assert refusals() > refused, "it is not asked any more"
                states = load.taken()
            assert states[CacheState.MISS] == 0
            await load.until(CacheState.HIT)
        assert load.computed > 0


async def test_a_hanging_redis_is_waited_for_a_few_times_only(own_redis):
    async def compute() -> Computed:
        return Computed(b"answer", ttl_s=0)

    async with opened(own_redis, patience_ms=20) as cache:
        refused = refusals()
        with paused(own_redis):
            for _ in range(200):
                answer = await cache.answer(KEYS[0], compute)
                assert answer.state is CacheState.BYPASS
        # The few before the circuit opened, and a probe a second.
        assert 150 < refusals() - refused <= 200 - POLICY.failures


async def test_redis_killed_under_load_costs_no_search(own_redis):
    async with opened(own_redis) as cache:
        load = Load(cache)
        async with load.running():
            for _ in range(2):
                await load.until(CacheState.HIT)
                load.taken()
                await killed(own_redis)
                await load.until(CacheState.BYPASS)
                load.taken()
                await own_redis.start()
            await load.until(CacheState.HIT)


async def test_two_replicas_share_answers_and_survive_a_hang_together(own_redis):
    async with opened(own_redis) as one, opened(own_redis) as other:
        loads = [Load(one), Load(other)]
        async with loads[0].running():
            await loads[0].until(CacheState.HIT)
            async with loads[1].running():
                await loads[1].until(CacheState.HIT)
                assert loads[1].computed == 0, "the first one's answers were there"
                with paused(own_redis):
                    for load in loads:
                        await load.until(CacheState.BYPASS)
                for load in loads:
                    await load.until(CacheState.HIT)


async def test_a_full_redis_still_gives_what_it_has_and_is_complained_of_once(own_redis):
    handle = RedisHandle(own_redis.url)
    store = CacheStore(handle, patience_ms=5_000, most_bytes=1_000)
    assert await store.put("kept", b"x" * 600, life_s=60)
    before = failed_stores()
    with capture_logs() as logs:
        await handle.client.config_set("maxmemory", "1")
        for number in range(5):
            refused = [store.put(f"{number} {n}", b"x" * 600, life_s=60) for n in range(3)]
            assert await asyncio.gather(*refused) == [False] * 3
        await handle.client.config_set("maxmemory", "0")
        assert await store.put("again", b"x", life_s=60)
    assert [log["event"] for log in logs] == [
        "values can't be kept in the cache",
        "values are kept in the cache again",
    ]
    assert failed_stores() == before + 15
    assert await store.get("again") == b"x"
    await store.close()
    await handle.close()


async def test_closing_while_redis_hangs_ends_soon(own_redis):
    handle = RedisHandle(own_redis.url)
    store = CacheStore(handle)
    cache = AnswerCache(store)
    load = Load(cache)
    with paused(own_redis):
        await asyncio.gather(*(cache.answer(key, lambda key=key: load._compute(key)) for key in KEYS))  # type: ignore[misc]
        async with asyncio.timeout(20):
            await cache.close()
            await store.close()
    await handle.close()


async def test_a_generation_cut_off_from_redis_stops_sharing_and_tells_its_repair_when_redis_is_back(
    own_redis,
):
    handle = RedisHandle(own_redis.url, timeout_ms=300)
    now_s = 1_000.0
    one, other = (CatalogueGeneration(handle, clock=lambda: now_s) for _ in range(2))
    following = [asyncio.create_task(generation.follow()) for generation in (one, other)]
    for generation in (one, other):
        generation.changed(removed=True, cursor="7")
    await eventually(lambda: one.current == other.current)
    shared = one.current
    with paused(own_redis):
        one.changed(removed=True, cursor=None)
        assert one.current != shared, "the repair counts here at once"
        now_s += TRUST_S + 1
        assert other.current != shared, "somebody may have moved the number"
        assert one.current != other.current
    await eventually(lambda: one.current == other.current)
    assert one.current != shared
    for task in following:
        task.cancel()
    await asyncio.wait(following)
    await handle.close()
