"""One time limit for a whole call, passed through every function and on to other services.

The web kit sets the deadline of a request; outgoing calls send what is left in ``X-Request-Deadline-Ms``, so that no
service works on an answer nobody waits for any more.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
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

    @asynccontextmanager
    async def timeout(self, what: str = "the call") -> AsyncIterator[None]:
        """Cancel the block when the time is over.

        Raises
        ------
        DeadlineExceededError
            The block was cut off.
        """
        limit = asyncio.timeout(self.remaining_ms() / 1000)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            # A TimeoutError of the block itself is not ours to rename.
            if not limit.expired():
                raise
            raise DeadlineExceededError(f"{what} took longer than allowed") from error


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the request being handled, if there is one."""
    return _current.get()


@asynccontextmanager
async def deadline_scope(deadline: Deadline, what: str = "the request") -> AsyncIterator[None]:
    """Make a deadline the current one inside the block and enforce it."""
    token = _current.set(deadline)
    try:
        async with deadline.timeout(what):
            yield
    finally:
        _current.reset(token)
