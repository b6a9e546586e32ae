"""Asking a Redis that can be done without: with little patience, and not at all while it keeps failing.

`CacheStore` is the only caller. A search must never feel that its cache is slow.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError, UnavailableError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from media_gateway.core.adapters.redis import RedisHandle

LATE_LOOP_S = 0.005
"""An alarm that rings later than this, in seconds, tells of a busy process and not of a slow server."""

WARY_S = 10.0
"""How long a failure is remembered, in seconds."""

POLICY = BreakerPolicy(
    failures=5, error_rate=0.0, successes=1, open_ms=1_000, probes=1, window_ms=int(WARY_S * 1000)
)
"""Failures count by number, not by share: a server that stops fails no more than fifty times a second, beside thousands
of good answers just before, so a share would be reached late."""


class Impatience:
    """Cuts the block off after a time, not counting what this process was late itself.

    A process that computed for longer than the time comes back to an answer that lies in its socket and an alarm that
    is due; `asyncio.timeout` would take the alarm first. This one rings a second time, if the first was late.

    Raises
    ------
    DeadlineExceededError
        From the block: it was cut off.
    """

    __slots__ = ("_alarm", "_cuts", "_due_s", "_extended", "_others", "_patience_s", "_task")

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._cuts = 0
        self._extended = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._others = task.cancelling()
        self._set(self._patience_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._alarm.cancel()
        for _cut in range(self._cuts):
            self._task.uncancel()
        # As with `asyncio.timeout`, a cancellation from elsewhere goes on.
        ours_alone = self._task.cancelling() <= self._others
        if self._cuts and ours_alone and kind is asyncio.CancelledError:
            raise DeadlineExceededError("Redis took too long for a cache") from error

    def _set(self, after_s: float) -> None:
        # Not the loop's clock: it stands still while the loop is kept busy.
        self._due_s = time.monotonic() + after_s
        self._alarm = asyncio.get_running_loop().call_later(after_s, self._ring)

    def _ring(self) -> None:
        late_s = time.monotonic() - self._due_s
        if late_s < -0.001:
            self._set(-late_s)
        elif late_s > LATE_LOOP_S and not self._extended:
            self._extended = True
            self._set(self._patience_s)
        else:
            self._cuts += 1
            self._task.cancel()
            # Before Python 3.12 `asyncio.wait_for`, by which redis-py sends, may lose a cancellation (CPython #86296).
            self._set(self._patience_s)


class SparingClient:
    """The client of a handle behind a circuit of its own.

    Parameters
    ----------
    redis
        Whose client.
    """

    def __init__(self, redis: "RedisHandle") -> None:
        self._client = redis.client
        self._breaker = CircuitBreaker("cache", POLICY)
        self._wary_until_s = -float("inf")

    async def ask(self, question: Callable[["Redis"], Awaitable[Any]], *, patience_s: float) -> Any:
        """The answer, if it comes within ``patience_s`` seconds.

        Raises
        ------
        UnavailableError
            Redis can't be reached, or has not been asked because it kept failing.
        DeadlineExceededError
            It took too long.
        """
        if time.monotonic() < self._wary_until_s:
            async with self._breaker.attempt():
                return await self._asked(question, patience_s)
        # The circuit counts nothing but failures. As long as there are none it need not be asked, which costs a tenth of
        # a lookup; of the first one it is told.
        try:
            return await self._asked(question, patience_s)
        except MediaGatewayError:
            async with self._breaker.attempt():
                raise

    async def _asked(self, question: Callable[["Redis"], Awaitable[Any]], patience_s: float) -> Any:
        try:
            with Impatience(patience_s):
                try:
                    return await question(self._client)
                except Exception:
                    # Only here, as it costs a few per cent of a lookup. The driver is there by now.
                    from media_gateway.core.adapters.redis import translated

                    with translated():
                        raise
        except (UnavailableError, DeadlineExceededError):
            self._wary_until_s = time.monotonic() + WARY_S
            raise
