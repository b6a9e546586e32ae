"""So many acts in so much time, exactly: guesses of PINs and codes, mails to one address. Lists in Redis, by its clock."""

from hashlib import sha256

from media_gateway.core.adapters.redis import RedisHandle, translated

# KEYS: the acts, newest first. ARGV: limit, window in milliseconds. One step, so that many at once are counted one by one.
# An act over the limit is not counted: who keeps trying is let in again as soon as who waits.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
if oldest and oldest + ARGV[2] > now then return oldest + ARGV[2] - now end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
"""


class Budget:
    """How often something may be done. Raises UnavailableError or DeadlineExceededError if Redis is away.

    Parameters
    ----------
    name
        Of the kind of act, part of the keys.
    limit, window_s
        At most so many acts in any stretch of so many seconds.
    """

    def __init__(self, redis: RedisHandle, name: str, *, limit: int, window_s: float) -> None:
        self._redis = redis
        self._name = name
        self._limit = limit
        self._window_ms = round(window_s * 1000)
        self._take = redis.client.register_script(_TAKE)

    async def take(self, owner: str) -> int:
        """Count an act; gives the milliseconds to wait if there were too many, else 0."""
        with translated():
            return int(await self._take(keys=[self._key(owner)], args=[self._limit, self._window_ms]))

    async def clear(self, owner: str) -> None:
        """Forget the acts: somebody has proven to be the owner."""
        with translated():
            await self._redis.client.delete(self._key(owner))

    def _key(self, owner: str) -> str:
        return f"auth:budget:{self._name}:{sha256(owner.encode(errors='replace')).hexdigest()}"
