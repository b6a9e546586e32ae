"""One attempt at a run: read, map, cut into batches, write, record. `services.runs.Runner` makes one for each attempt.

What a batch changes, its counts, its dead letters and the checkpoint behind it are committed in one transaction. With
several writers at work batches may commit out of order; the run then records only what has no gap before it, and reads
the rest again if it is cut off, which changes nothing the second time.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import structlog

from media_gateway.core.adapters.postgres import AsyncConnection, Database
from media_gateway.core.deadline import Deadline
from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.domain.specs import IngestionJobSpec
from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError
from media_gateway.core.retry import RetryPolicy, retry_with_backoff
from media_gateway.ingestion.formats.plain_values import json_text
from media_gateway.ingestion.mapping import Mapper, RecordRejectedError
from media_gateway.ingestion.runs import (
    Counts,
    DeadLetter,
    Outcome,
    Run,
    RunCancelledError,
    RunFailedError,
    storable,
)
from media_gateway.ingestion.services.catalogue import RunContext, WriteReport
from media_gateway.ingestion.services.meter import Meter
from media_gateway.ingestion.services.recorder import Recorder
from media_gateway.ingestion.sources import BadItem, RawRecord, Source, SourceItem, later
from media_gateway.ingestion.store_runs import keep_listed

BUDGET_SAMPLE = 1_000
"""Records after which a run may fail for its rejected records before its end."""

BUDGET_DEVIATIONS = 3.0
"""How many standard deviations (of a Poisson count) above the budget end a run early: a source that is just within its
budget must not fail because its bad records stand in front."""

PATIENT = RetryPolicy(max_retries=1_000_000, base_delay_ms=200, max_delay_ms=5_000)
"""Pauses while a server is away; the limit is the run's patience in time, not a count."""

TRY_TIMEOUT_S = 120.0
"""Longest one try at a batch may take. Statements have limits of their own; this one is for a server that vanished without
closing its connections."""

REASONS_TOLD = 3
"""First reasons of rejections that the message of a failed run repeats."""

YIELD_EVERY = 50
"""Records mapped before other tasks of the process get their turn: a few milliseconds."""

_log = structlog.get_logger(__name__)

Also = Callable[[AsyncConnection, WriteReport], Awaitable[None]]


class RecordWriter(Protocol):
    """Where mapped records go: the catalogue, or nowhere in a dry run."""

    async def write(
        self, records: Sequence[SourceRecord], *, run: RunContext, also: Also | None = None
    ) -> WriteReport:
        """Write records in one transaction, in which ``also`` runs last."""


class DryWriter:
    """Accepts every record and writes none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(
        self, records: Sequence[SourceRecord], *, run: RunContext, also: Also | None = None
    ) -> WriteReport:
        """Nothing but what ``also`` does."""
        del run
        report = WriteReport(unchanged=len(records))
        if also is not None:
            async with self._database.transaction() as connection:
                await also(connection, report)
        return report


@dataclass(slots=True)
class Batch:
    """Consecutive items of the source, to be written in one transaction."""

    number: int
    records: list[SourceRecord] = field(default_factory=list)
    items: list[RawRecord] = field(default_factory=list)
    """What each record was mapped from."""
    places: list[int] = field(default_factory=list)
    """Place in the batch of each record."""
    letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    """Rejected items with their places."""
    size: int = 0
    checkpoint: str | None = None
    cursor: str | None = None
    outcome: Outcome | None = None

    @property
    def keys(self) -> set[str]:
        """Source ids of its records."""
        return {record.source_id for record in self.records}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptParts:
    """What an attempt works with."""

    run: Run
    spec: IngestionJobSpec
    context: RunContext
    source: Source
    mapper: Mapper
    writer: RecordWriter
    recorder: Recorder
    meter: Meter
    stop: asyncio.Event
    patience_s: float


class Attempt:
    """Reads a source from the run's checkpoint to its end.

    Parameters
    ----------
    parts
        What it works with. Setting ``stop`` ends it early, after the batches that are being written.
    """

    def __init__(self, parts: AttemptParts) -> None:
        self._parts = parts
        self._writing: dict[asyncio.Task[None], Batch] = {}
        self._read = parts.run.counts.read
        self._failed = parts.run.counts.failed
        self._next = parts.run.recorded
        self._reasons: list[str] = []

    async def read_all(self) -> bool:
        """Work until the source is at its end; False if it was stopped before.

        Raises
        ------
        RunFailedError
            Too many records were rejected, or the run took longer than it may.
        RunCancelledError
            Somebody asked to cancel it.
        MediaGatewayError
            A retryable one: something stayed away for longer than the run's patience. Another: the source can't be
            read, or the database refuses what is written. What was recorded before stays.
        """
        try:
            async with aclosing(self._batches()) as batches:
                async for batch in batches:
                    await self._begin(batch)
                    if self._over_budget(at_end=False) or self._verdict():
                        break
            await self._await_writers(0)
        finally:
            await self._give_up_writers()
        if error := self._verdict():
            raise error
        if self._over_budget(at_end=not self._parts.stop.is_set()):
            percent = self._parts.spec.error_policy.max_error_percent
            raise RunFailedError(
                "ErrorBudgetExceeded",
                f"{self._failed} of {self._read} records were rejected, more than {percent} %; see the dead letters"
                + "".join(f"\n  {reason}" for reason in self._reasons),
            )
        return not self._parts.stop.is_set()

    async def settle(self, timeout_s: float) -> None:
        """Wait until what is being written now is written."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=timeout_s)

    def _verdict(self) -> MediaGatewayError | None:
        if self._parts.recorder.cancel_requested:
            return RunCancelledError("the job was cancelled")
        limit_s, started_at = self._parts.spec.active_deadline_seconds, self._parts.run.started_at
        if limit_s and started_at and (datetime.now(UTC) - started_at).total_seconds() > limit_s:
            return RunFailedError("DeadlineExceeded", f"the job took longer than its {limit_s} s")
        return None

    def _over_budget(self, *, at_end: bool) -> bool:
        share = self._parts.spec.error_policy.max_error_percent / 100
        if at_end or share == 0:
            return self._failed > share * self._read
        if self._read < BUDGET_SAMPLE:
            return False
        percent = self._parts.meter.progress(self._parts.recorder.counts).percent
        # Where the size of the source is known, its whole budget may be used up front.
        allowed = share * (self._read * 100 / percent if percent else self._read)
        return self._failed > allowed + BUDGET_DEVIATIONS * math.sqrt(allowed)

    async def _batches(self) -> AsyncGenerator[Batch, None]:
        batch = self._new_batch()
        async with aclosing(self._items()) as items:
            async for item in items:
                if self._parts.stop.is_set():
                    return
                await self._parts.meter.advance()
                self._take(batch, item)
                if batch.size % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                if batch.size >= self._parts.spec.batch_size:
                    yield batch
                    batch = self._new_batch()
        if batch.size and not self._parts.stop.is_set():
            yield batch

    async def _items(self) -> AsyncGenerator[SourceItem, None]:
        """The source's items; a source that is away for a while is read on from where it stopped."""
        parts = self._parts
        position, failures, failing_since = parts.run.checkpoint, 0, 0.0
        while True:
            try:
                reading = parts.source.read(position, parts.run.start_cursor)
                async with aclosing(reading) as items:
                    async for item in items:
                        position, failures = item.checkpoint, 0
                        parts.meter.waiting_for = None
                        yield item
            except MediaGatewayError as error:
                failing_since = failing_since if failures else time.monotonic()
                failures += 1
                if not self._is_worth_waiting(error) or time.monotonic() - failing_since > parts.patience_s:
                    raise
                floor_ms = error.retry_after_ms or 0
                await self._sleep(max(PATIENT.delay_ms(failures - 1, random.random), floor_ms) / 1000)
                if parts.stop.is_set():
                    return
            else:
                return

    def _new_batch(self) -> Batch:
        number = self._next
        self._next += 1
        return Batch(number)

    def _take(self, batch: Batch, item: SourceItem) -> None:
        place = batch.size
        batch.size += 1
        batch.checkpoint = item.checkpoint
        self._read += 1
        if isinstance(item, BadItem):
            source_id = self._parts.mapper.source_id(item.payload) if item.payload is not None else None
            self._reject(batch, place, _letter(item, source_id, item.field or "", item.reason))
            return
        batch.cursor = later(batch.cursor, item.cursor)
        try:
            record = self._parts.mapper.map(item.payload)
        except RecordRejectedError as error:
            source_id = self._parts.mapper.source_id(item.payload)
            self._reject(batch, place, _letter(item, source_id, error.field, error.reason))
        else:
            batch.records.append(record)
            batch.items.append(item)
            batch.places.append(place)

    def _reject(self, batch: Batch, place: int, letter: DeadLetter) -> None:
        batch.letters.append((place, letter))
        self._failed += 1

    async def _begin(self, batch: Batch) -> None:
        # Two batches with the same record must not race: what the source says last is to stand.
        while any(other.keys & batch.keys for other in self._writing.values()):
            await self._await_writers(len(self._writing) - 1)
        await self._await_writers(self._parts.spec.parallelism - 1)
        task = asyncio.create_task(self._write(batch), name=f"write batch {batch.number}")
        self._writing[task] = batch

    async def _await_writers(self, left: int) -> None:
        while len(self._writing) > left:
            done, _ = await asyncio.wait(self._writing, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del self._writing[task]
            for task in done:
                task.result()

    async def _give_up_writers(self) -> None:
        for task in self._writing:
            task.cancel()
        if self._writing:
            await asyncio.wait(self._writing)
            self._writing.clear()

    async def _write(self, batch: Batch) -> None:
        await self._patiently(partial(self._write_once, batch))
        outcome = batch.outcome
        assert outcome is not None
        # Counted once the batch is committed, so that a repeated try does not count its rejected records twice.
        self._failed += outcome.counts.failed - len(batch.letters)
        for letter in outcome.dead_letters:
            if len(self._reasons) < REASONS_TOLD and letter.told not in self._reasons:
                self._reasons.append(letter.told)
        await self._patiently(partial(self._parts.recorder.committed, outcome))

    async def _write_once(self, batch: Batch) -> None:
        also = partial(self._record, batch)
        await self._parts.writer.write(batch.records, run=self._parts.context, also=also)

    async def _record(self, batch: Batch, connection: AsyncConnection, report: WriteReport) -> None:
        letters = list(batch.letters)
        for index, name, reason in report.rejected:
            item, record = batch.items[index], batch.records[index]
            letters.append((batch.places[index], _letter(item, record.source_id, name, reason)))
        letters.sort(key=lambda placed: placed[0])
        if not self._parts.spec.dry_run:
            # A record that can't be taken is listed by its source all the same: a Full run must not end its offerings.
            listed = sorted({letter.source_id for _, letter in letters if letter.source_id is not None})
            await keep_listed(connection, self._parts.run, listed)
        counts = Counts(
            read=batch.size,
            created=report.created,
            updated=report.updated,
            skipped=report.unchanged,
            failed=len(letters),
            unidentified=sum(letter.source_id is None for _, letter in letters),
        )
        progress = self._parts.meter.progress(self._parts.recorder.counts)
        batch.outcome = Outcome(
            first=batch.number,
            batches=1,
            counts=counts,
            dead_letters=[letter for _, letter in letters],
            checkpoint=batch.checkpoint,
            cursor=batch.cursor,
            percent=progress.percent,
            rate_per_second=progress.rate_per_second,
            remaining_s=progress.remaining_s,
        )
        await self._parts.recorder.within(connection, batch.outcome)

    async def _patiently(self, call: Callable[[], Awaitable[None]]) -> None:
        await retry_with_backoff(
            partial(_within, TRY_TIMEOUT_S, call),
            PATIENT,
            deadline=Deadline.after(round(self._parts.patience_s * 1000)),
            is_retryable=self._is_worth_waiting,
            sleep=self._sleep,
        )
        self._parts.meter.waiting_for = None

    def _is_worth_waiting(self, error: BaseException) -> bool:
        if not isinstance(error, MediaGatewayError) or not error.retryable or self._parts.stop.is_set():
            return False
        if self._parts.meter.waiting_for is None:
            _log.warning("the run waits", run=str(self._parts.run.id), error=error.message)
        self._parts.meter.waiting_for = error.message
        return True

    async def _sleep(self, seconds: float) -> None:
        """A pause that ends when the run is told to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._parts.stop.wait()
        except TimeoutError:
            pass


async def _within(seconds: float, call: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await call()
    except TimeoutError as error:
        raise DeadlineExceededError(f"no answer within {seconds:g} s") from error


def _letter(item: SourceItem, source_id: str | None, name: str, reason: str) -> DeadLetter:
    return DeadLetter(
        line=item.line,
        position=item.checkpoint,
        source_id=storable(source_id) if source_id is not None else None,
        field=storable(name),
        reason=storable(reason),
        excerpt=storable(item.excerpt if isinstance(item, BadItem) else json_text(item.payload)),
    )
