"""Tokens that were taken back before they expire: who revokes names them in Redis, every process knows within about a second.

A name is a token's ``jti``, or the id of a grant, which is the ``sid`` of all its tokens. Looking one up costs no round trip.
A process that can't reach Redis goes on with what it knows, and says so in ``/health``.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from media_gateway.core.errors import MediaGatewayError

if TYPE_CHECKING:
    from media_gateway.core.adapters.redis import RedisHandle

KEY: Final = "auth:revoked"
"""Sorted set: names by the Unix time, in seconds, at which the last token of that name expires."""

CHANGES: Final = "{auth:revoked}:changes"
"""Another value after each change of `KEY`. The braces put both into one slot of a cluster."""

POLL_S: Final = 1.0
"""Pause between two looks, in seconds."""

LOOK_TIMEOUT_MS: Final = 500
"""Longest a look at Redis may take, in milliseconds."""

KEPT_ON_S: Final = 120
"""How long a name stays after its tokens have expired, in seconds: above the leeway of verifiers and clocks that differ."""

# KEYS: the set, the counter. ARGV: name, expiry, `KEPT_ON_S`. By the server's clock the counter rises even where it was lost.
# The set ends with its last name, so that nothing has to be cleaned up where nobody revokes any more.
_ADD = """
local clock = redis.call('TIME')
local expires, kept_on = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', clock[1] - kept_on)
redis.call('ZADD', KEYS[1], 'GT', expires, ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local ends = math.ceil(tonumber(last[2]) + kept_on)
redis.call('EXPIREAT', KEYS[1], string.format('%.0f', ends))
local change = clock[1] * 1000000 + clock[2]
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
if before >= change then change = before + 1 end
redis.call('SET', KEYS[2], string.format('%.0f', change))
"""

_log = structlog.get_logger(__name__)


class RevokedTokens:
    """What is revoked, as far as this process knows. Ask with ``in``.

    Parameters
    ----------
    redis
        Whose server; looks have a connection of their own.
    """

    def __init__(self, redis: "RedisHandle") -> None:
        # Here, so that a process without Redis does not load the driver.
        from media_gateway.core.adapters.redis import Script, translated

        self._client = redis.client_of_its_own(timeout_ms=LOOK_TIMEOUT_MS)
        self._translated = translated
        self._add = Script(redis.client, _ADD)
        self._until: dict[str, float] = {}
        self._seen: bytes | str | None = None
        self._problem: str | None = None

    def __contains__(self, name: object) -> bool:
        return name in self._until

    async def add(self, name: str, until: float) -> None:
        """Revoke the tokens of a name, here at once and elsewhere within about a second. It can't be undone.

        Parameters
        ----------
        name
            A token's ``jti``, or a grant's id.
        until
            When the last of them expires: Unix time in seconds. A second call may only extend it.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't be asked. After the latter they may be revoked; asking again does no harm.
        """
        await self._add.run([KEY, CHANGES], [name, repr(float(until)), KEPT_ON_S])
        self._until[name] = max(until, self._until.get(name, until))

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Look once for what is new. Without Redis everything stays as it is."""
        try:
            await self._read()
        except MediaGatewayError as error:
            if self._problem is None:
                _log.warning("revoked tokens can't be read", problem=error.message)
            self._problem = error.message
        else:
            if self._problem is not None:
                _log.info("revoked tokens are read again")
            self._problem = None
        self._forget()

    async def health(self) -> str | None:
        """None if everything revoked is known, else why it may not be."""
        if self._problem is None:
            return None
        return f"tokens revoked since then are still taken: the list can't be read ({self._problem})"

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _read(self) -> None:
        with self._translated():
            change = await self._client.get(CHANGES)
            if change == self._seen:
                return
            found: Any = await self._client.zrange(
                KEY, time.time() - KEPT_ON_S, "+inf", byscore=True, withscores=True
            )
        # Added to what is known: nothing is ever taken off, and a server that lost its data does not revive a token.
        self._until.update((name.decode(), until) for name, until in found)
        # As it was before the set was read: what came meanwhile is seen at the next look.
        self._seen = change

    def _forget(self) -> None:
        over = time.time() - KEPT_ON_S
        for name in [name for name, until in self._until.items() if until < over]:
            del self._until[name]
