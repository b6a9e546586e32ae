"""One computation a key at a time: whoever asks for what is being computed waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from media_gateway.core.deadline import Deadline, deadline_scope
from media_gateway.core.errors import UnavailableError

T = TypeVar("T")

LIMIT_MS = 10_000.0
"""Longest a computation may take, in milliseconds: how long a key can be stuck."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Flight(Generic[T]):
    landed: asyncio.Future[T]
    task: asyncio.Task[bool]


class Flights(Generic[T]):
    """Computations under way.

    A computation runs in a task of its own, with a deadline of its own: callers come and go, and their deadlines with
    them.

    Parameters
    ----------
    keep
        Called with key and result once callers have got theirs; gives whether the result was kept elsewhere.
    linger_s
        How long a result that was kept is still given here, in seconds: as long as somebody may be on the way who looked
        elsewhere before it was there.
    limit_ms
        Longest a computation may take, in milliseconds.
    """

    def __init__(
        self,
        keep: Callable[[str, T], Awaitable[bool]],
        *,
        linger_s: float = 0.0,
        limit_ms: float = LIMIT_MS,
    ) -> None:
        self._keep = keep
        self._linger_s = linger_s
        self._limit_ms = limit_ms
        self._flights: dict[str, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def result(self, key: str, compute: Callable[[], Awaitable[T]]) -> T:
        """What ``compute`` gives, or what the computation of the same key that is under way gives.

        Raises
        ------
        Exception
            What the computation raised, to all who wait for it; the next call computes again.
        DeadlineExceededError
            It took longer than the limit.
        UnavailableError
            It was interrupted.
        """
        flight = self._flights.get(key) or self._start(key, compute)
        # Shielded: a caller who goes away takes nothing from the others.
        return await asyncio.shield(flight.landed)

    async def close(self) -> None:
        """Interrupt computations; results that are there are still kept."""
        tasks = [flight.task for flight in self._flights.values() if not flight.task.done()]
        for flight in self._flights.values():
            if not flight.landed.done():
                flight.task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, key: str, compute: Callable[[], Awaitable[T]]) -> _Flight[T]:
        loop = asyncio.get_running_loop()
        landed: asyncio.Future[T] = loop.create_future()
        task = asyncio.create_task(self._fly(key, compute, landed), name="cache computation")

        def ended(task: asyncio.Task[bool]) -> None:
            # It may have been cancelled, even before its first step.
            _fail(landed, UnavailableError("the computation was interrupted"))
            problem = None if task.cancelled() else task.exception()
            if problem is not None:
                _log.error("a computed value could not be kept", exc_info=problem)
            if problem is None and not task.cancelled() and task.result():
                loop.call_later(self._linger_s, self._flights.pop, key, None)
            else:
                del self._flights[key]

        task.add_done_callback(ended)
        flight = self._flights[key] = _Flight(landed, task)
        return flight

    async def _fly(self, key: str, compute: Callable[[], Awaitable[T]], landed: asyncio.Future[T]) -> bool:
        try:
            async with deadline_scope(Deadline.after(self._limit_ms), "the computation"):
                result = await compute()
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            _fail(landed, error)
            return False
        landed.set_result(result)
        return await self._keep(key, result)


def _fail(landed: asyncio.Future[T], error: Exception) -> None:
    if not landed.done():
        landed.set_exception(error)
        # Looked at here, as everybody who waited may be gone.
        landed.exception()
