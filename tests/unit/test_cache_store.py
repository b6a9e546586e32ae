"""What all of discovery's caches are kept in, on a real Redis. Outages are in the integration tests."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.cache.asking import Impatience
from media_gateway.core.cache.lookups import MOST_AT_ONCE
from media_gateway.core.cache.store import CacheStore
from media_gateway.core.cache.writes import ENTRY_OVERHEAD_BYTES, MOST_WAITING, VALUE_LIMIT_BYTES
from media_gateway.core.errors import DeadlineExceededError, UnavailableError
from tests.support.waiting import eventually

PATIENT_MS = 5_000.0
"""The machine of the tests is busy; only tests about slowness are impatient."""


@pytest.fixture
async def store(redis) -> AsyncIterator[CacheStore]:
    store = CacheStore(redis, patience_ms=PATIENT_MS)
    yield store
    await store.close()


def failures(reason: str) -> float:
    return REGISTRY.get_sample_value("mgw_cache_store_failures_total", {"reason": reason}) or 0.0


async def test_what_was_put_is_got_until_its_time_is_over(store, redis):
    assert await store.get("a") is None
    assert await store.put("a", b"\x00\xff", life_s=60)
    assert await store.get("a") == b"\x00\xff"
    assert 59_000 < await redis.client.pttl("a") <= 60_000
    await store.put("a", b"new", life_s=0.05)

    async def gone() -> bool:
        return await store.get("a") is None

    await eventually(gone)


async def test_many_lookups_at_once_get_each_their_own_value(store):
    keys = [f"k{n}" for n in range(3 * MOST_AT_ONCE)]
    for start in range(0, len(keys), MOST_WAITING):
        await asyncio.gather(
            *(store.put(key, key.encode(), life_s=60) for key in keys[start : start + MOST_WAITING])
        )
    wanted = [*keys, *reversed(keys), "missing"]
    found = await asyncio.gather(*(store.get(key) for key in wanted))
    assert found == [*(key.encode() for key in keys), *(key.encode() for key in reversed(keys)), None]


async def test_a_caller_who_goes_away_takes_no_value_from_the_others(store):
    await store.put("a", b"1", life_s=60)
    lookups = [asyncio.create_task(store.get(key)) for key in "aaabbb"]
    await asyncio.sleep(0)
    lookups[0].cancel()  # the one who asks Redis
    lookups[2].cancel()
    found = await asyncio.gather(*lookups, return_exceptions=True)
    assert [found[1], *found[3:]] == [b"1", None, None, None]
    assert isinstance(found[2], asyncio.CancelledError)
    assert await store.get("a") == b"1"


async def test_a_value_of_another_kind_is_an_error_for_its_own_reader_only(store, redis):
    await redis.client.hset("hash", "field", "value")
    await store.put("a", b"1", life_s=60)
    found = await asyncio.gather(*(store.get(key) for key in ("a", "hash", "a")))
    assert found == [b"1", None, b"1"]


async def test_a_claim_is_given_once_and_again_when_its_time_is_over(redis):
    one, other = (CacheStore(redis, patience_ms=PATIENT_MS) for _ in range(2))
    claims = await asyncio.gather(*(store.claim("lease", life_s=0.3) for store in (one, other, one, other)))
    assert sorted(claims) == [False, False, False, True]

    async def free() -> bool:
        return await other.claim("lease", life_s=60)

    await eventually(free)
    assert not await one.claim("lease", life_s=60)


async def test_a_value_over_the_limit_is_not_kept_and_counted(store):
    before = failures("too_large")
    assert not await store.put("a", b"x" * (VALUE_LIMIT_BYTES + 1), life_s=60)
    assert await store.get("a") is None
    assert failures("too_large") == before + 1
    assert await store.put("a", b"x" * VALUE_LIMIT_BYTES, life_s=60)


async def test_more_values_than_fit_the_line_are_dropped_and_counted(store):
    before = failures("too_many")
    kept = await asyncio.gather(*(store.put(f"k{n}", b"1", life_s=60) for n in range(MOST_WAITING + 5)))
    assert sum(kept) == MOST_WAITING
    assert failures("too_many") == before + 5


async def test_beyond_its_bound_the_oldest_values_go(redis):
    size = 1_000
    most = 10 * (size + 2 + ENTRY_OVERHEAD_BYTES)
    store = CacheStore(redis, patience_ms=PATIENT_MS, most_bytes=most)
    for n in range(30):
        await store.put(f"{n:02}", b"x" * size, life_s=60)
    await store.put("20", b"y" * size, life_s=60)  # the oldest of those left is the newest now
    await store.put("30", b"x" * size, life_s=60)
    await store.close()
    left = sorted(key.decode() for key in await redis.client.keys())
    assert left == ["20", *(str(n) for n in range(22, 31))]


async def test_closing_stores_what_waits(redis):
    store = CacheStore(redis, patience_ms=PATIENT_MS)
    kept = [store.put(f"k{n}", b"1", life_s=60) for n in range(40)]
    await store.close()
    assert all(future.result() for future in kept)
    assert await redis.client.dbsize() == 40


async def test_without_redis_a_lookup_fails_at_once_or_soon_and_a_write_is_dropped(free_port):
    handle = RedisHandle(f"redis://127.0.0.1:{free_port}/0")
    store = CacheStore(handle)
    before = failures("redis")
    for _ in range(10):
        with pytest.raises((UnavailableError, DeadlineExceededError)):
            await store.get("a")
    assert not await store.put("a", b"1", life_s=60)
    assert failures("redis") == before + 1
    await store.close()
    await handle.close()


async def test_an_answer_that_came_while_the_process_was_busy_is_not_too_late():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def be_busy() -> None:
        theirs.send(b"answer")
        time.sleep(0.2)  # the alarm is due, and the answer lies in the socket

    with ours, theirs:
        loop.call_soon(be_busy)
        with Impatience(0.05):
            assert await loop.sock_recv(ours, 10) == b"answer"
        # Late as it was, the alarm still rings for an answer that does not come.
        loop.call_soon(time.sleep, 0.2)
        with pytest.raises(DeadlineExceededError), Impatience(0.05):
            await loop.sock_recv(ours, 10)


async def test_impatience_cuts_off_and_leaves_other_cancellations_alone():
    with pytest.raises(DeadlineExceededError), Impatience(0.02):
        await asyncio.sleep(60)
    entered = asyncio.Event()

    async def hang() -> None:
        with Impatience(60):
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hang())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
