"""One time limit for a whole call, passed through every function and on to other services.

The web kit sets the deadline of a request; outgoing calls send what is left in ``X-Request-Deadline-Ms``, so that no
service works on an answer nobody waits for any more.
"""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from media_gateway.core.errors import DeadlineExceededError, FieldError, InvalidInputError

HEADER = "X-Request-Deadline-Ms"
"""Milliseconds the sender still waits when it sends the request: relative, so clocks need not agree."""

MAX_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, milliseconds: float) -> Self:
        """The deadline that many milliseconds from now."""
        return cls(time.monotonic() + milliseconds / 1000)

    @classmethod
    def from_header(cls, value: str | None, *, default_ms: float) -> Self:
        """The sooner of the sender's deadline and our own limit.

        Raises
        ------
        InvalidInputError
            The header is not a whole number of milliseconds from 1 to 3,600,000.
        """
        if value is None:
            return cls.after(default_ms)
        if not (value.isascii() and value.isdigit() and len(value) <= 7 and 1 <= int(value) <= MAX_MS):
            reason = f"must be a whole number of milliseconds from 1 to {MAX_MS}"
            raise InvalidInputError(f"{HEADER} {reason}", errors=[FieldError(HEADER, reason)])
        return cls.after(min(int(value), default_ms))

    def remaining_ms(self) -> float:
        """Milliseconds left, never negative."""
        return max(0.0, (self.at - time.monotonic()) * 1000)

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.at

    @property
    def header(self) -> str:
        """What to send in ``X-Request-Deadline-Ms``; at least 1."""
        return str(max(1, int(self.remaining_ms())))

    def sooner(self, milliseconds: float) -> "Deadline":
        """This deadline, or the one that many milliseconds from now if that comes first."""
        return Deadline(min(self.at, time.monotonic() + milliseconds / 1000))

    def timeout(self, what: str = "the call") -> "_Limit":
        """Cancel the block (``async with``) when the time is over.

        Raises
        ------
        DeadlineExceededError
            From the block: it was cut off.
        """
        return _Limit(self, what)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the request being handled, if there is one."""
    return _current.get()


class _Limit:
    """What `Deadline.timeout` and `deadline_scope` give. Every request passes one, and generators cost half as much again."""

    __slots__ = ("_deadline", "_limit", "_what")

    def __init__(self, deadline: Deadline, what: str) -> None:
        self._deadline = deadline
        self._what = what

    async def __aenter__(self) -> None:
        self._limit = asyncio.timeout(self._deadline.remaining_ms() / 1000)
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise DeadlineExceededError(f"{self._what} took longer than allowed") from late


class _Scope(_Limit):
    __slots__ = ("_token",)

    async def __aenter__(self) -> None:
        self._token = _current.set(self._deadline)
        await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            _current.reset(self._token)


def deadline_scope(deadline: Deadline, what: str = "the request") -> AbstractAsyncContextManager[None]:
    """Make a deadline the current one inside the block (``async with``) and enforce it."""
    return _Scope(deadline, what)
