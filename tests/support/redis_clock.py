"""Waiting by the clock of a Redis server, which is the one that its counters go by."""

from media_gateway.core.adapters.redis import RedisHandle
from tests.support.waiting import eventually


async def moment(redis: RedisHandle) -> int:
    """Now, in microseconds."""
    seconds, rest = await redis.client.time()
    return int(seconds) * 1_000_000 + int(rest)


async def until(redis: RedisHandle, due_us: int) -> None:
    """Wait for a moment of Redis's clock."""

    async def is_due() -> bool:
        return await moment(redis) >= due_us

    await eventually(is_due, timeout_s=120, interval_s=0.001)
