"""Values in Redis that can be done without: what a component's caches are kept in, one object a component.

Redis may be slow, full or gone. Reading then fails soon, storing is dropped and counted, and after a few failures Redis
is left alone for a second; whoever asked goes on without it.
"""

import asyncio
from typing import TYPE_CHECKING

from media_gateway.core.cache.asking import SparingClient
from media_gateway.core.cache.lookups import Lookups
from media_gateway.core.cache.writes import Writes

if TYPE_CHECKING:
    from media_gateway.core.adapters.redis import RedisHandle

PATIENCE_MS = 20.0
"""Longest a lookup may take, in milliseconds: about as long as what is kept takes to make."""

MOST_BYTES = 64 << 20
"""What one process keeps at most: some 7,000 answers, a quarter of the embedded Redis."""

CLOSE_TIMEOUT_S = 2.0


class CacheStore:
    """Bytes by key, for a while.

    Parameters
    ----------
    patience_ms
        Longest a lookup may take, in milliseconds.
    most_bytes
        What this process may keep in Redis; beyond it, the values it stored first are taken out.
    """

    def __init__(
        self, redis: "RedisHandle", *, patience_ms: float = PATIENCE_MS, most_bytes: int = MOST_BYTES
    ) -> None:
        client = SparingClient(redis)
        self._lookups = Lookups(client, patience_s=patience_ms / 1000)
        self._writes = Writes(client, most_bytes=most_bytes)
        self.longest_lookup_s = 4 * patience_ms / 1000
        """No lookup takes longer, in seconds: it may wait for one before it, and a busy process doubles its patience."""

    async def get(self, key: str) -> bytes | None:
        """The value, None if there is none.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't tell within ``patience_ms``, or is left alone.
        """
        return await self._lookups.get(key)

    def put(self, key: str, value: bytes, *, life_s: float) -> asyncio.Future[bool]:
        """Keep a value, in the background.

        Returns
        -------
        Future
            Whether it is kept, once that is known. Nobody has to wait for it; it never holds an error.
        """
        return self._writes.store(key, value, life_ms=max(1, int(life_s * 1000)))

    def claim(self, key: str, *, life_s: float) -> asyncio.Future[bool]:
        """Take a key that nobody holds, for a while, in the background; the future tells whether it was free."""
        return self._writes.claim(key, life_ms=int(life_s * 1000))

    async def close(self) -> None:
        """Store what waits to be stored, within `CLOSE_TIMEOUT_S`, and refuse those who wait for a value."""
        self._lookups.close()
        await self._writes.close(timeout_s=CLOSE_TIMEOUT_S)
