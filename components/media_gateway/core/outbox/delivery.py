"""Handing rows to a handler: what its errors mean, and how a row nobody can take is found. `OutboxRelay` uses this."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from media_gateway.core.errors import (
    DeadlineExceededError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from media_gateway.core.outbox.rows import OutboxRow

Handler = Callable[[Sequence[OutboxRow]], Awaitable[None]]
"""Takes rows in order and returns once all are safe where they belong. It may be given a row again.

An error that is ``retryable`` makes the destination wait; `InvalidInputError` and `PayloadTooLargeError` blame a row.
"""

_ROW_FAULTS = (InvalidInputError, PayloadTooLargeError)
_OPERATOR_FAULTS = (NotConfiguredError, UnauthenticatedError, PermissionDeniedError)


@dataclass(slots=True)
class Outcome:
    """What became of a batch. Rows in neither list were not delivered and stay."""

    delivered: list[OutboxRow] = field(default_factory=list)
    rejected: list[tuple[OutboxRow, Exception]] = field(default_factory=list)
    error: Exception | None = None
    """Why delivery stopped early: the destination should be left alone for a while."""


async def deliver(
    rows: Sequence[OutboxRow], handler: Handler, *, timeout_s: float, isolate_unexpected: bool
) -> Outcome:
    """Hand rows over, halving a batch that fails until the rows at fault stand alone.

    The left half is finished before the right one is begun, so the order per key is kept; what follows a rejected row of
    its key is delivered without it. Halves handed over twice are the price, and allowed by "at least once".

    Parameters
    ----------
    rows
        In order.
    handler
        Where they go.
    timeout_s
        Longest one call may take; no further call is begun after that much time in total.
    isolate_unexpected
        Whether an error that blames neither the destination nor a row counts against the rows.
    """
    outcome = Outcome()
    parts = [list(rows)]
    give_up_at = time.monotonic() + timeout_s
    while parts and time.monotonic() < give_up_at:
        part = parts.pop()
        try:
            await _call(handler, part, timeout_s)
        except Exception as error:  # noqa: BLE001 - handlers are plugged in; every failure gets a verdict here
            if not _blames_rows(error, isolate_unexpected=isolate_unexpected):
                outcome.error = error
                return outcome
            if len(part) == 1:
                outcome.rejected.append((part[0], error))
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
        else:
            outcome.delivered += part
    return outcome


async def _call(handler: Handler, part: Sequence[OutboxRow], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await handler(part)
    except TimeoutError as error:
        raise DeadlineExceededError(f"the handler took longer than {timeout_s:g} s") from error


def _blames_rows(error: Exception, *, isolate_unexpected: bool) -> bool:
    if isinstance(error, _ROW_FAULTS):
        return True
    if isinstance(error, _OPERATOR_FAULTS) or (isinstance(error, MediaGatewayError) and error.retryable):
        return False
    return isolate_unexpected
