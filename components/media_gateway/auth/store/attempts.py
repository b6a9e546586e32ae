"""Failed attempts to sign in, counted in Redis by account and source: a stranger's failures never delay the owner elsewhere."""

from hashlib import sha256

from media_gateway.core.adapters.redis import RedisHandle, translated

FREE_ATTEMPTS = 5
"""Failures in a row before the first delay."""
LONGEST_DELAY_MS = 900_000
FORGOTTEN_AFTER_MS = 3_600_000

# Counts the attempt before it is looked at, so that many at once do not all pass; success takes the count back.
_BEGIN = """
local wait = redis.call('PTTL', KEYS[2])
if wait > 0 then return wait end
local count = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local over = count - tonumber(ARGV[1])
if over >= 0 then
  redis.call('SET', KEYS[2], '', 'PX', math.min(1000 * 2 ^ math.min(over, 20), tonumber(ARGV[2])))
end
return 0
"""


class Attempts:
    """The counts of all accounts and sources."""

    def __init__(self, redis: RedisHandle) -> None:
        self._redis = redis

    async def begin(self, email: str, source: str | None) -> float:
        """Count an attempt; gives the seconds to wait when it comes too early, else 0.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't be reached.
        """
        with translated():
            wait_ms = await self._redis.client.eval(
                _BEGIN, 2, *_keys(email, source), FREE_ATTEMPTS, LONGEST_DELAY_MS, FORGOTTEN_AFTER_MS
            )
        return int(wait_ms) / 1000

    async def forget(self, email: str, source: str | None) -> None:
        """Somebody proved to be the owner: count anew."""
        with translated():
            await self._redis.client.delete(*_keys(email, source))


def _keys(email: str, source: str | None) -> tuple[str, str]:
    tag = sha256(f"{email.lower()}\n{source or ''}".encode(errors="replace")).hexdigest()
    return f"auth:attempts:{{{tag}}}:count", f"auth:attempts:{{{tag}}}:wait"
