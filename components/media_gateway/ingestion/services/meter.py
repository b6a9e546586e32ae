"""How far a run is, how fast it goes, when it will be done. Filled by the pipeline, shown by commands and stored in the run."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from media_gateway.core.errors import MediaGatewayError
from media_gateway.ingestion.runs import Counts
from media_gateway.ingestion.sources import Source

PROGRESS_EVERY_S = 0.25
"""How often progress is reported while a run works."""

ESTIMATE_EVERY_S = 1.0
"""How often a source that does not know its size yet is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is shown of a running job.

    Attributes
    ----------
    counts : Counts
        As recorded in Postgres.
    percent : float | None
        Of the source, 0 to 100; None where its size is not known.
    rate_per_second : float | None
        Records read a second in this attempt.
    remaining_s : float | None
        Estimate of the rest, in seconds.
    waiting_for : str | None
        What the run waits for, if it does not get on.
    cursor : str | None
        Highest value of the cursor field, as recorded in Postgres.
    """

    counts: Counts
    percent: float | None = None
    rate_per_second: float | None = None
    remaining_s: float | None = None
    waiting_for: str | None = None
    cursor: str | None = None


class Meter:
    """Measures one attempt.

    Parameters
    ----------
    source
        What is read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._total: int | None = None
        self._asked_at = float("-inf")
        self._started_at = time.monotonic()
        self._units_at_start: int | None = None
        self._read = 0
        self.waiting_for: str | None = None

    async def advance(self) -> None:
        """Count a record that was read."""
        if self._units_at_start is None:
            # The first item stands behind everything that an earlier attempt has read.
            self._started_at = time.monotonic()
            self._units_at_start = self._source.units_read
        self._read += 1
        if self._total is None and time.monotonic() - self._asked_at > ESTIMATE_EVERY_S:
            self._asked_at = time.monotonic()
            try:
                self._total = await self._source.estimate()
            except MediaGatewayError:
                # Progress without a percentage is no reason to stop; a source that is really away fails when read.
                self._total = None

    def progress(self, counts: Counts, cursor: str | None = None) -> Progress:
        """The present state."""
        elapsed_s = max(time.monotonic() - self._started_at, 1e-3)
        percent = remaining_s = None
        if self._total:
            units = self._source.units_read
            percent = min(100.0 * units / self._total, 99.9)
            done = units - (self._units_at_start or 0)
            if done > 0:
                remaining_s = max(self._total - units, 0) * elapsed_s / done
        return Progress(
            counts=counts,
            percent=percent,
            rate_per_second=self._read / elapsed_s if self._read else None,
            remaining_s=remaining_s,
            waiting_for=self.waiting_for,
            cursor=cursor,
        )


OnProgress = Callable[[Progress], None]


class Counted(Protocol):
    """Has what is recorded of a run."""

    counts: Counts
    cursor: str | None


@asynccontextmanager
async def forwarded(outer: asyncio.Event | None, inner: asyncio.Event) -> AsyncIterator[None]:
    """While the block runs, setting ``outer`` sets ``inner``."""
    if outer is None:
        yield
        return

    async def forward() -> None:
        await outer.wait()
        inner.set()

    task = asyncio.create_task(forward(), name="stop request")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def reported(on_progress: OnProgress | None, recorded: Counted, meter: Meter) -> AsyncIterator[None]:
    """Call ``on_progress`` every now and then while the block runs, and once at its end."""
    if on_progress is None:
        yield
        return

    async def report() -> None:
        while True:
            on_progress(meter.progress(recorded.counts, recorded.cursor))
            await asyncio.sleep(PROGRESS_EVERY_S)

    task = asyncio.create_task(report(), name="progress of the run")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        on_progress(meter.progress(recorded.counts, recorded.cursor))
