"""Failed attempts to sign in are slowed down, for one account from one source."""

import asyncio

from media_gateway.auth.store.attempts import FREE_ATTEMPTS, Attempts
from media_gateway.core.adapters.redis import RedisHandle

ANN = "ann@tv.example"


async def test_of_many_attempts_at_once_only_the_free_ones_are_looked_at(redis: RedisHandle) -> None:
    attempts = Attempts(redis)
    waits = await asyncio.gather(*(attempts.begin(ANN, "192.0.2.1") for _ in range(40)))
    assert waits.count(0) == FREE_ATTEMPTS
    assert max(waits) <= 1.0


async def test_a_strangers_failures_do_not_delay_the_owner(redis: RedisHandle) -> None:
    attempts = Attempts(redis)
    for _ in range(2 * FREE_ATTEMPTS):
        await attempts.begin(ANN, "192.0.2.1")
    assert await attempts.begin("Ann@TV.example", "192.0.2.1") > 0
    assert await attempts.begin(ANN, "198.51.100.7") == 0


async def test_success_begins_anew(redis: RedisHandle) -> None:
    attempts = Attempts(redis)
    for _ in range(2 * FREE_ATTEMPTS):
        await attempts.begin(ANN, None)
    await attempts.forget(ANN, None)
    assert await attempts.begin(ANN, None) == 0
