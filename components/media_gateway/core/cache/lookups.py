"""Reading from Redis, one question at a time: what is asked meanwhile goes together with the next one.

A lone lookup is one GET. Under load a single MGET answers all that have gathered, so that a lookup costs a fraction of a
GET, a key that many want is read once, and no more than one connection is in use.
"""

import asyncio
from itertools import islice
from typing import Any

from media_gateway.core.cache.asking import SparingClient
from media_gateway.core.errors import MediaGatewayError, UnavailableError

MOST_AT_ONCE = 64
"""Keys in one question: at 9 KB a value, half a megabyte, which a server sends in about a millisecond."""


class Lookups:
    """Values by key.

    Parameters
    ----------
    patience_s
        Longest a question may take, in seconds.
    """

    def __init__(self, client: SparingClient, *, patience_s: float) -> None:
        self._client = client
        self._patience_s = patience_s
        self._asking = False
        self._waiting: dict[str, list[asyncio.Future[bytes | None]]] = {}
        self._rounds: asyncio.Task[None] | None = None

    async def get(self, key: str) -> bytes | None:
        """The value, None if there is none.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't tell now. Whoever waited behind a question that failed is told the same at once.
        """
        if self._asking:
            waiter: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(key, []).append(waiter)
            return await waiter
        # Asked in the caller's own task, which costs least. If it is cancelled, only its own question is lost.
        self._asking = True
        try:
            value: bytes | None = await self._client.ask(
                lambda client: client.get(key), patience_s=self._patience_s
            )
        except MediaGatewayError as error:
            self._refuse(error)
            raise
        finally:
            self._asking = False
            self._go_on()
        return value

    def close(self) -> None:
        """Refuse those who wait."""
        if self._rounds is not None:
            self._rounds.cancel()
        self._refuse(UnavailableError("the cache is closed"))

    def _go_on(self) -> None:
        if self._waiting:
            self._asking = True
            self._rounds = asyncio.create_task(self._answer_all(), name="cache lookups")

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                keys = list(islice(self._waiting, MOST_AT_ONCE))
                try:
                    values = await self._client.ask(
                        lambda client, keys=keys: _many(client, keys),  # type: ignore[misc]
                        patience_s=self._patience_s,
                    )
                except MediaGatewayError as error:
                    self._refuse(error)
                else:
                    for key, value in zip(keys, values, strict=True):
                        self._give(key, value)
        finally:
            self._asking = False
            # Whatever ended this, nobody waits for ever.
            self._refuse(UnavailableError("the lookup was interrupted"))

    def _give(self, key: str, value: bytes | None) -> None:
        for waiter in self._waiting.pop(key, ()):
            if not waiter.done():
                waiter.set_result(value)

    def _refuse(self, error: MediaGatewayError) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiters in waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)


async def _many(client: Any, keys: list[str]) -> list[bytes | None]:
    # In a Redis Cluster the keys lie on several nodes.
    read = getattr(client, "mget_nonatomic", client.mget)
    values: list[bytes | None] = await read(keys)
    return values
