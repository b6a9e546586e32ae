"""Wrong second factors of a person, counted in Redis: a few a minute, wherever they are typed."""

from uuid import UUID

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.errors import RateLimitedError

WRONG_CODES = 5
WINDOW_MS = 60_000
"""Of a million codes three are good at a time: at this pace, guessing one takes 46 days on average."""

# KEYS: times of the last attempts, newest first. ARGV: how many, window (ms). Counted before it is looked at, so that many at
# once do not all pass; an attempt beyond the limit is not counted.
_BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
if oldest and oldest + ARGV[2] > now then return {oldest + ARGV[2] - now, now} end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {0, now}
"""


class CodeAttempts:
    """The counts of everybody. Raises UnavailableError or DeadlineExceededError if Redis is away."""

    def __init__(self, redis: RedisHandle) -> None:
        self._redis = redis
        self._begin = redis.client.register_script(_BEGIN)

    async def begin(self, user_id: UUID) -> int:
        """Count an attempt; gives its name, for `give_back`.

        Raises
        ------
        RateLimitedError
            Too many were wrong.
        """
        with translated():
            wait_ms, name = await self._begin(keys=[_key(user_id)], args=[WRONG_CODES, WINDOW_MS])
        if wait_ms > 0:
            raise RateLimitedError("too many wrong codes; wait a while", retry_after_ms=int(wait_ms))
        return int(name)

    async def give_back(self, user_id: UUID, name: int) -> None:
        """The attempt was a right code, or none at all."""
        with translated():
            await self._redis.client.lrem(_key(user_id), 1, str(name))


def _key(user_id: UUID) -> str:
    return f"auth:mfa:attempts:{user_id}"
