"""People whose password was right and whose second factor is still to come: a few minutes in Redis, a few tries."""

import secrets
from hashlib import sha256
from uuid import UUID

from media_gateway.core.adapters.redis import RedisHandle, translated

LIFE_S = 300
"""Time to open the other app and type a code, in seconds."""

TRIES = 5
"""Of a million codes, three of which are good at a time."""

# KEYS: the step. ARGV: tries. One step, so that tries at the same time are all counted.
_TRY = """
local user = redis.call('HGET', KEYS[1], 'user')
if not user then return false end
if redis.call('HINCRBY', KEYS[1], 'tries', 1) > tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  return false
end
return user
"""

# KEYS: the step. ARGV: user, life in milliseconds.
_START = """
redis.call('HSET', KEYS[1], 'user', ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""


class SecondSteps:
    """Sign-ins between password and second factor. Raises UnavailableError or DeadlineExceededError if Redis is away."""

    def __init__(self, redis: RedisHandle) -> None:
        self._redis = redis
        self._start, self._try = (redis.client.register_script(script) for script in (_START, _TRY))

    async def start(self, user_id: UUID, *, browser: str) -> str:
        """A name for the step, good in this browser only."""
        step = secrets.token_urlsafe(32)
        with translated():
            await self._start(keys=[_key(step, browser)], args=[str(user_id), LIFE_S * 1000])
        return step

    async def try_once(self, step: str, *, browser: str) -> UUID | None:
        """Whose step it is, if it has a try left; uses one."""
        with translated():
            user_id = await self._try(keys=[_key(step, browser)], args=[TRIES])
        return UUID(user_id.decode()) if user_id else None

    async def end(self, step: str, *, browser: str) -> None:
        """The step was taken."""
        with translated():
            await self._redis.client.delete(_key(step, browser))


def _key(step: str, browser: str) -> str:
    return f"auth:second_step:{sha256(f'{step} {browser}'.encode(errors='replace')).hexdigest()}"
