"""Answers of searches in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.cache import CacheStore
from media_gateway.core.deadline import Deadline, current_deadline, deadline_scope
from media_gateway.core.errors import DeadlineExceededError, InvalidInputError, UnavailableError
from media_gateway.discovery.cache import (
    FULL_TTL_S,
    AnswerCache,
    CacheKey,
    CacheState,
    Computed,
)
from media_gateway.discovery.cache.answers import FRESH_SHARE, JITTER
from tests.support.waiting import eventually

KEY = CacheKey("search:1:test")


class Clock:
    now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Search:
    """Answers with its number of the computation when it is let go, and counts how often it was asked."""

    def __init__(self, ttl_s: float = FULL_TTL_S) -> None:
        self.ttl_s = ttl_s
        self.asked = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Computed:
        self.asked += 1
        body = f"answer {self.asked}".encode()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Computed(body, self.ttl_s)


class SlowStore(CacheStore):
    """Redis's answer is known, and comes to the caller when it is let go."""

    def __init__(self, redis: RedisHandle, *, patience_ms: float) -> None:
        super().__init__(redis, patience_ms=patience_ms)
        self.hold()
        self.open.set()

    def hold(self) -> None:
        self.open, self.looked = asyncio.Event(), asyncio.Event()

    async def get(self, key: str) -> bytes | None:
        value = await super().get(key)
        self.looked.set()
        await self.open.wait()
        return value


@asynccontextmanager
async def replica(redis: RedisHandle, clock: Clock) -> AsyncIterator[AnswerCache]:
    # The machine of the tests is busy; only tests about slowness are impatient.
    store = CacheStore(redis, patience_ms=2_000)
    # A renewal would wait until a computation is forgotten; here minutes pass in no time.
    store.longest_lookup_s = 0.0
    cache = AnswerCache(store, clock=clock)
    yield cache
    await cache.close()
    await store.close()
    assert not cache._renewing


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(redis, clock) -> AsyncIterator[AnswerCache]:
    async with replica(redis, clock) as cache:
        yield cache


@pytest.fixture
async def other(redis, clock) -> AsyncIterator[AnswerCache]:
    async with replica(redis, clock) as cache:
        yield cache


@pytest.fixture
async def search() -> Search:
    return Search()


def kept(redis: RedisHandle, cache: AnswerCache) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return bool(await redis.client.exists(KEY)) and not len(cache._flights)

    return probe


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("mgw_search_cache_total", {"result": result}) or 0.0


async def test_an_answer_is_computed_once_and_then_given_byte_for_byte(cache, other, redis):
    body = bytes(range(256)) * 36

    async def compute() -> Computed:
        return Computed(body, 60)

    first = await cache.answer(KEY, compute)
    assert (first.body, first.state, first.age_s) == (body, CacheState.MISS, 0.0)
    await eventually(kept(redis, cache))
    for reader in (cache, other):
        again = await reader.answer(KEY, compute)
        assert (again.body, again.state) == (body, CacheState.HIT)


async def test_an_answer_tells_its_age(cache, redis, clock, search):
    await cache.answer(KEY, search)
    await eventually(kept(redis, cache))
    clock.now_s += 7.5
    assert (await cache.answer(KEY, search)).age_s == 7.5
    clock.now_s -= 60  # another machine's clock may be behind
    assert (await cache.answer(KEY, search)).age_s == 0.0


async def test_two_hundred_callers_at_once_are_one_computation(cache, search):
    search.open.clear()
    callers = [asyncio.create_task(cache.answer(KEY, search)) for _ in range(200)]
    await eventually(lambda: search.asked)
    search.open.set()
    answers = await asyncio.gather(*callers)
    assert search.asked == 1
    assert {(answer.body, answer.state) for answer in answers} == {(b"answer 1", CacheState.MISS)}


async def test_a_caller_who_looked_just_before_the_answer_was_stored_does_not_compute_it_again(
    redis, clock, search
):
    store = SlowStore(redis, patience_ms=2_000)
    cache = AnswerCache(store, clock=clock)
    search.open.clear()
    leader = asyncio.create_task(cache.answer(KEY, search))
    await eventually(lambda: search.asked)
    store.hold()
    follower = asyncio.create_task(cache.answer(KEY, search))
    await asyncio.wait_for(store.looked.wait(), 10)
    search.open.set()
    await leader

    async def stored() -> bool:
        return bool(await redis.client.exists(KEY))

    await eventually(stored)
    await store.put("the write after it", b"", life_s=1)
    store.open.set()
    assert (await follower).body == b"answer 1"
    assert search.asked == 1
    await cache.close()
    await store.close()


async def test_a_leader_who_goes_away_leaves_the_computation_to_the_others(cache, search):
    search.open.clear()
    leader, follower = (asyncio.create_task(cache.answer(KEY, search)) for _ in range(2))
    await eventually(lambda: search.asked)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    search.open.set()
    assert (await follower).body == b"answer 1"
    assert search.asked == 1


async def test_an_answer_nobody_waits_for_any_more_is_kept(cache, redis, search):
    search.open.clear()
    caller = asyncio.create_task(cache.answer(KEY, search))
    await eventually(lambda: search.asked)
    caller.cancel()
    search.open.set()
    await eventually(kept(redis, cache))
    assert (await cache.answer(KEY, search)).state is CacheState.HIT


async def test_the_deadline_of_one_caller_does_not_cut_the_answer_of_the_others(cache, search: Search):
    search.open.clear()
    seen: list[Deadline | None] = []

    async def compute() -> Computed:
        seen.append(current_deadline())
        return await search()

    async def hurried() -> None:
        async with deadline_scope(Deadline.after(500)):
            await cache.answer(KEY, compute)

    leader = asyncio.create_task(hurried())
    await eventually(lambda: search.asked)
    follower = asyncio.create_task(cache.answer(KEY, compute))
    with pytest.raises(DeadlineExceededError):
        await leader
    search.open.set()
    assert (await follower).body == b"answer 1"
    assert seen[0] is not None
    assert seen[0].remaining_ms() > 1_000


async def test_an_error_goes_to_all_who_wait_and_nothing_is_kept(cache, redis, search):
    search.error = InvalidInputError("no such genre")
    search.open.clear()
    callers = [asyncio.create_task(cache.answer(KEY, search)) for _ in range(20)]
    await eventually(lambda: search.asked)
    search.open.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [search.error] * 20
    assert search.asked == 1
    search.error = None
    assert (await cache.answer(KEY, search)).body == b"answer 2"
    await eventually(kept(redis, cache))


async def test_an_error_that_nobody_waits_for_is_no_news(cache, search, caplog):
    search.error = UnavailableError("no leg answered")
    search.open.clear()
    caller = asyncio.create_task(cache.answer(KEY, search))
    await eventually(lambda: search.asked)
    caller.cancel()
    search.open.set()
    await eventually(lambda: not len(cache._flights))
    assert "never retrieved" not in caplog.text


async def test_an_answer_without_a_time_is_not_kept(cache, redis):
    search = Search(ttl_s=0)
    for number in (1, 2):
        answer = await cache.answer(KEY, search)
        assert (answer.body, answer.state) == (f"answer {number}".encode(), CacheState.MISS)
    assert not await redis.client.exists(KEY)


async def test_answers_live_a_little_less_than_their_time_and_not_all_the_same(cache, redis):
    search = Search(ttl_s=1_000)
    keys = [CacheKey(f"search:1:{number}") for number in range(20)]
    await asyncio.gather(*(cache.answer(key, search) for key in keys))

    async def all_kept() -> bool:
        return bool(await redis.client.exists(*keys) == len(keys))

    await eventually(all_kept)
    lives_ms = [await redis.client.pttl(key) for key in keys]
    assert max(lives_ms) <= 1_000_000
    assert min(lives_ms) > 1_000_000 * (1 - JITTER) - 60_000
    assert max(lives_ms) - min(lives_ms) > 5_000


async def test_a_stale_answer_is_given_at_once_and_renewed_once_by_all_replicas(
    cache, other, redis, clock, search
):
    await cache.answer(KEY, search)
    await eventually(kept(redis, cache))
    clock.now_s += FULL_TTL_S * FRESH_SHARE
    search.open.clear()
    answers = await asyncio.gather(*(reader.answer(KEY, search) for reader in (cache, other) * 50))
    assert {(answer.body, answer.state) for answer in answers} == {(b"answer 1", CacheState.STALE)}
    await eventually(lambda: search.asked == 2)
    search.open.set()
    for reader in (cache, other):

        async def renewed(reader: AnswerCache = reader) -> bool:
            answer = await reader.answer(KEY, search)
            return (answer.body, answer.state) == (b"answer 2", CacheState.HIT)

        await eventually(renewed)
    assert search.asked == 2


async def test_a_renewer_that_died_delays_renewal_by_its_lease_only(cache, redis, clock, search):
    await cache.answer(KEY, search)
    await eventually(kept(redis, cache))
    clock.now_s += FULL_TTL_S * FRESH_SHARE
    # Another replica took the lease and is no more.
    await redis.client.set(f"{KEY}:renewal", b"1", px=500)
    assert (await cache.answer(KEY, search)).state is CacheState.STALE

    async def renewed() -> bool:
        return bool((await cache.answer(KEY, search)).body == b"answer 2")

    await eventually(renewed)
    assert search.asked == 2


async def test_a_renewal_that_fails_leaves_the_stale_answer_and_troubles_nobody(cache, redis, clock, search):
    await cache.answer(KEY, search)
    await eventually(kept(redis, cache))
    clock.now_s += FULL_TTL_S * FRESH_SHARE
    search.error = UnavailableError("no leg answered")
    assert (await cache.answer(KEY, search)).state is CacheState.STALE
    await eventually(lambda: search.asked == 2)
    for _ in range(20):
        answer = await cache.answer(KEY, search)
        assert (answer.body, answer.state) == (b"answer 1", CacheState.STALE)
    assert search.asked == 2, "after a failure there is a pause"


async def test_a_renewal_begun_in_a_request_is_not_bound_to_its_deadline(cache, redis, clock, search):
    await cache.answer(KEY, search)
    await eventually(kept(redis, cache))
    clock.now_s += FULL_TTL_S * FRESH_SHARE
    search.open.clear()
    async with deadline_scope(Deadline.after(5_000)):
        assert (await cache.answer(KEY, search)).state is CacheState.STALE
    await eventually(lambda: search.asked == 2)
    search.open.set()

    async def renewed() -> bool:
        return bool((await cache.answer(KEY, search)).body == b"answer 2")

    await eventually(renewed)


async def test_bytes_that_are_no_answer_are_a_miss(cache, redis, search):
    for number, value in enumerate((b"", b"MGA1", b"something else of some length"), start=1):
        await redis.client.set(KEY, value)
        answer = await cache.answer(KEY, search)
        assert (answer.body, answer.state) == (f"answer {number}".encode(), CacheState.MISS)

        async def replaced(value: bytes = value) -> bool:
            return await redis.client.get(KEY) != value and not len(cache._flights)

        await eventually(replaced, timeout_s=30)


async def test_every_result_is_counted(cache, redis, clock, search):
    before = {result: counted(result) for result in ("hit", "miss", "stale", "bypass")}
    await cache.answer(KEY, search)
    await eventually(kept(redis, cache))
    await cache.answer(KEY, search)
    clock.now_s += FULL_TTL_S * FRESH_SHARE
    await cache.answer(KEY, search)
    after = {result: counted(result) - before[result] for result in before}
    assert after == {"hit": 1, "miss": 1, "stale": 1, "bypass": 0}


async def test_without_redis_every_search_is_computed_and_the_same_ones_together(free_port, search):
    handle = RedisHandle(f"redis://127.0.0.1:{free_port}/0")
    store = CacheStore(handle)
    cache = AnswerCache(store)
    search.open.clear()
    callers = [asyncio.create_task(cache.answer(KEY, search)) for _ in range(50)]
    await eventually(lambda: search.asked)
    search.open.set()
    answers = await asyncio.gather(*callers)
    assert {(answer.body, answer.state) for answer in answers} == {(b"answer 1", CacheState.BYPASS)}
    await eventually(lambda: not len(cache._flights))
    assert (await cache.answer(KEY, search)).state is CacheState.BYPASS
    assert search.asked == 2
    await cache.close()
    await store.close()
    await handle.close()


async def test_closing_interrupts_computations_with_an_error_that_says_so(redis, clock, search):
    search.open.clear()
    async with replica(redis, clock) as cache:
        caller = asyncio.create_task(cache.answer(KEY, search))
        await eventually(lambda: search.asked)
    with pytest.raises(UnavailableError, match="interrupted"):
        await caller


async def test_closing_stores_answers_that_are_computed(redis, clock, search):
    async with replica(redis, clock) as cache:
        await cache.answer(KEY, search)
    assert await redis.client.exists(KEY)
