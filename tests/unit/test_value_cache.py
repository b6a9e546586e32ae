"""Embeddings and intents by text, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.cache import CacheStore
from media_gateway.core.domain.vectors import Vector
from media_gateway.core.errors import UnavailableError
from media_gateway.discovery.cache import ValueCache, embeddings, intents
from media_gateway.discovery.cache.values import EMBEDDING_TTL_S, INTENT_TTL_S, RECENT_COUNT, RECENT_S
from tests.support.waiting import eventually

DIMENSION = 8


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Embedder:
    """A vector that tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Vector:
        self.asked += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return np.full(DIMENSION, self.asked, np.float32)


@pytest.fixture
async def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
async def store(redis) -> AsyncIterator[CacheStore]:
    store = CacheStore(redis, patience_ms=5_000)
    yield store
    await store.close()


def vectors(store: CacheStore, clock: Clock | None = None, model: str = "minilm") -> ValueCache[Vector]:
    return ValueCache(store, embeddings(model, DIMENSION), clock=clock or Clock())


async def keys_of(redis: RedisHandle) -> list[str]:
    keys: list[Any] = await redis.client.keys()
    return sorted(key.decode() for key in keys)


async def until_kept(redis: RedisHandle, count: int = 1) -> None:
    async def kept() -> bool:
        return len(await keys_of(redis)) == count

    await eventually(kept)


async def test_an_embedding_is_computed_once_for_this_process_and_the_next(store, redis, embedder):
    first = vectors(store)
    vector = await first.get("a film about ducks", embedder)
    assert vector.dtype == np.float32
    assert vector.tolist() == [1.0] * DIMENSION
    await until_kept(redis)
    for cache in (first, vectors(store)):
        assert (await cache.get("a film about ducks", embedder)).tolist() == [1.0] * DIMENSION
    assert embedder.asked == 1


async def test_redis_holds_raw_numbers_under_model_dimension_and_digest_for_an_hour(store, redis, embedder):
    await vectors(store).get("a film about ducks", embedder)
    await until_kept(redis)
    (key,) = await keys_of(redis)
    assert key.startswith(f"embedding:minilm:{DIMENSION}:")
    assert "ducks" not in key
    assert await redis.client.get(key) == np.ones(DIMENSION, "<f4").tobytes()
    assert EMBEDDING_TTL_S * 1000 - 60_000 < await redis.client.pttl(key) <= EMBEDDING_TTL_S * 1000


async def test_models_are_never_mixed(store, redis, embedder):
    await vectors(store, model="one").get("ducks", embedder)
    assert (await vectors(store, model="other").get("ducks", embedder))[0] == 2.0


async def test_no_caller_can_change_the_vector_of_another(store, embedder):
    cache = vectors(store)
    for _ in range(2):
        vector = await cache.get("ducks", embedder)
        with pytest.raises(ValueError, match="read-only"):
            vector[0] = 7.0


async def test_callers_at_the_same_time_share_a_computation_and_may_go_away(store, embedder):
    cache = vectors(store)
    embedder.open.clear()
    callers = [asyncio.create_task(cache.get("ducks", embedder)) for _ in range(50)]
    await eventually(lambda: embedder.asked)
    callers[0].cancel()
    embedder.open.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(vector, np.ndarray) and vector[0] == 1.0 for vector in found[1:])
    assert embedder.asked == 1


async def test_an_error_is_told_and_not_kept(store, redis, embedder):
    cache = vectors(store)
    embedder.error = UnavailableError("the model is not built")
    with pytest.raises(UnavailableError):
        await cache.get("ducks", embedder)
    embedder.error = None
    assert (await cache.get("ducks", embedder))[0] == 2.0


async def test_a_vector_of_another_length_is_refused_and_one_found_in_redis_is_computed_anew(
    store, redis, embedder
):
    async def short() -> Vector:
        return np.ones(DIMENSION - 1, np.float32)

    with pytest.raises(ValueError, match="has 8 numbers"):
        await vectors(store).get("ducks", short)
    await vectors(store).get("ducks", embedder)
    await until_kept(redis)
    (key,) = await keys_of(redis)
    await redis.client.set(key, b"damaged")
    assert (await vectors(store).get("ducks", embedder))[0] == 2.0


async def test_a_value_is_given_from_the_process_for_a_minute(store, redis, embedder):
    clock = Clock()
    cache = vectors(store, clock)
    await cache.get("ducks", embedder)
    await until_kept(redis)
    await redis.client.flushdb()
    clock.now_s += RECENT_S - 1
    assert (await cache.get("ducks", embedder))[0] == 1.0
    clock.now_s += 1
    assert (await cache.get("ducks", embedder))[0] == 2.0


async def test_values_in_the_process_are_bounded(free_port):
    handle = RedisHandle(f"redis://127.0.0.1:{free_port}/0")
    store = CacheStore(handle)
    cache, asked = vectors(store), Embedder()
    for number in range(RECENT_COUNT + 1):
        await cache.get(str(number), asked)
        await cache.get("0", asked)
    assert asked.asked == RECENT_COUNT + 1, "what is used stays"
    await cache.get("1", asked)
    assert asked.asked == RECENT_COUNT + 2, "what was not used for longest has gone"
    await cache.close()
    await store.close()
    await handle.close()


async def test_without_redis_values_are_computed_and_kept_in_the_process(free_port, embedder):
    handle = RedisHandle(f"redis://127.0.0.1:{free_port}/0")
    store = CacheStore(handle)
    cache = vectors(store)
    for _ in range(3):
        assert (await cache.get("ducks", embedder))[0] == 1.0
    await cache.close()
    await store.close()
    await handle.close()


async def test_an_intent_is_kept_as_json_and_every_caller_has_one_of_his_own(store, redis):
    intent = {"genres": ["horror"], "not": {"moods": ["sad"]}, "years": [1980, 1989]}

    async def parse() -> dict[str, Any]:
        return intent

    cache = ValueCache(store, intents("llm:3"))
    first = await cache.get("no sad horror of the eighties", parse)
    assert first == intent
    first["genres"].clear()
    await until_kept(redis)
    assert (await cache.get("no sad horror of the eighties", parse)) == intent
    (key,) = await keys_of(redis)
    assert key.startswith("intent:llm:3:")
    assert INTENT_TTL_S * 1000 - 60_000 < await redis.client.pttl(key) <= INTENT_TTL_S * 1000
    await redis.client.set(key, b"[]")
    assert await ValueCache(store, intents("llm:3")).get("no sad horror of the eighties", parse) == intent


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=DIMENSION, max_size=DIMENSION))
def test_a_vector_comes_back_bit_for_bit(numbers):
    kind = embeddings("minilm", DIMENSION)
    vector = np.array(numbers, np.float32)
    assert kind.from_bytes(kind.to_bytes(vector)).tobytes() == vector.tobytes()
