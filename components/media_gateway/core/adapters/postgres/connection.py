"""The driver's connection, with an end to its patience."""

from typing import Final

import asyncpg

CLOSE_TIMEOUT_S: Final = 0.25
"""Longest a connection waits for the server when it is closed, in seconds. A server that works answers in milliseconds.
Whoever was cut off in the middle of a statement waits so long for nothing; SQLAlchemy would allow two seconds, and the
driver, at the end of a process, any time."""


class PromptConnection(asyncpg.Connection):  # type: ignore[misc]  # the driver has no types
    """Closes in good order if the server answers soon, else at once."""

    __slots__ = ()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's signature
        """End the session; without an answer in time the connection is aborted and `TimeoutError` raised."""
        await super().close(timeout=min(timeout or CLOSE_TIMEOUT_S, CLOSE_TIMEOUT_S))
