"""The catalogue's one writer: source records in, canonical contents, vectors and events out.

Runs, webhooks and administrators' routes call it. `catalogue_batch` says how writers keep out of each other's way, the
package ``identity`` which records are one work. It must not be bypassed: contents, ids, offerings and credits are folded
from the source records and would be overwritten by the next one that comes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeVar
from uuid import UUID

import numpy as np
import structlog
from prometheus_client import Counter

from media_gateway.core.adapters.postgres import AsyncConnection, Database
from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from media_gateway.core.ports.vectors import VectorIndex
from media_gateway.ingestion.identity.records import Member, RecordKey, nul_field, overlay
from media_gateway.ingestion.identity.resolution import EMBEDDING_SIMILARITY
from media_gateway.ingestion.services.catalogue_batch import Batch, Outcome, write_apart, write_batch
from media_gateway.ingestion.services.catalogue_events import EVERYBODY, announce_removal, announce_return
from media_gateway.ingestion.services.catalogue_upkeep import PAGE, delist_unseen, hold_all, pin
from media_gateway.ingestion.store import catalogue_read as read, catalogue_write as write
from media_gateway.ingestion.store.refusals import RefusedError, StaleReadError, refusals

TRIES = 12
"""How often a batch looks again after another writer was faster. Each time one of the writers gets through, so this many
in a row means something else is wrong."""

PAUSE_MS = 5
"""Longest pause before the second try; doubles up to half a second, drawn at random so that writers drift apart."""

NEIGHBOURS = 5
"""Contents asked of the vector index for a record that brings an embedding."""

YIELD_EVERY = 50
"""Records prepared before other tasks of the process get their turn: a few milliseconds."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_records = Counter("mgw_catalogue_records_total", "Source records written", ["outcome"])
_repeats = Counter("mgw_catalogue_repeats_total", "Batches looked at again because another writer was faster")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """On whose behalf records are written.

    Attributes
    ----------
    run_id : UUID
        The run.
    source : str
        Name of the source; every record carries the same.
    priority : int
        Of the source: facts of a lower number come first where sources differ.
    mode : str
        A Full run lists everything its source has.
    told : frozenset
        Who is told of what its batches change: the outbox destinations ``events`` and ``vectors``.
    """

    run_id: UUID
    source: str
    priority: int = 100
    mode: Literal["Full", "Incremental"] = "Incremental"
    told: frozenset[str] = EVERYBODY


class Rejection(NamedTuple):
    """A record that was not written: its index in the batch, the field at fault (empty if unknown), and why."""

    place: int
    field: str
    reason: str


@dataclass(slots=True)
class WriteReport:
    """What became of a batch.

    Attributes
    ----------
    created, updated, unchanged : int
        Records that the catalogue did not have, had otherwise, had just so.
    rejected : list of Rejection
        Records that were not written.
    content_ids : list
        Content of each record of the batch, None for a rejected one.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    content_ids: list[UUID | None] = field(default_factory=list)


Also = Callable[[AsyncConnection, WriteReport], Awaitable[None]]
"""Something a caller commits together with a batch; it is told what becomes of the batch by that."""


class CatalogueWriter:
    """Writes source records and keeps the catalogue folded from them.

    Parameters
    ----------
    database
        Holds the catalogue.
    vectors
        Asked for near contents when a record brings an embedding; None turns that rule off.
    """

    def __init__(self, database: Database, vectors: VectorIndex | None = None) -> None:
        self._database = database
        self._vectors = vectors

    async def write(
        self, records: Sequence[SourceRecord], *, run: RunContext, also: Also | None = None
    ) -> WriteReport:
        """Write records in one transaction, all but those the catalogue can't take.

        Parameters
        ----------
        records
            At most a few hundred: they are locked together. A source may repeat itself; its last statement counts.
        run
            On whose behalf.
        also
            Runs last in the same transaction (checkpoint, counts); it may run again if the transaction has to be.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Nothing was written; the same call may succeed later.
        """
        report = WriteReport(content_ids=[None] * len(records))
        places, members, near = await self._prepare(records, run, report)
        batch = Batch(run.source, run.run_id, near, told=run.told)

        async def attempt(connection: DirectConnection) -> WriteReport:
            with refusals():
                outcome = await write_batch(connection, members, batch)
            written = _report(report, places, outcome, {})
            if also is not None:
                await also(connection.connection, written)
            return written

        async def attempt_apart(connection: DirectConnection) -> WriteReport:
            outcome = Outcome()
            refused = await write_apart(connection, members, batch, outcome)
            written = _report(report, places, outcome, refused)
            if also is not None:
                await also(connection.connection, written)
            return written

        try:
            written = await self._repeat(attempt, batch.lock_first)
        except RefusedError:
            written = await self._repeat(attempt_apart, batch.lock_first)
        _count(written)
        return written

    async def finish_full_run(self, run: RunContext) -> int:
        """End the offerings of records that the source no longer lists, after a Full run has written everything.

        The records stay, marked as delisted: their facts go on counting, and a content without any listed record is kept
        (people have it on watchlists), only without offerings. A delisted record that comes again is listed again.

        Returns
        -------
        int
            Number of records delisted.
        """
        total, after = 0, ""
        while True:

            async def attempt(connection: DirectConnection, start: str = after) -> list[str]:
                return await delist_unseen(connection, run.source, run.run_id, start)

            page = await self._repeat(attempt)
            total += len(page)
            if len(page) < PAGE:
                return total
            after = page[-1]

    async def merge(self, into: UUID, others: Sequence[UUID]) -> None:
        """Make contents one, on an administrator's word: their records stay together from now on.

        Raises
        ------
        NotFoundError
            One of them does not exist.
        InvalidInputError
            Fewer than two different contents.
        """
        wanted = {into, *others}
        if len(wanted) < 2:
            raise InvalidInputError("a merge takes at least two different contents")

        async def attempt(connection: DirectConnection) -> None:
            held = await hold_all(connection, wanted)
            await pin(connection, held, dict.fromkeys((member.key for member in held.members), into))

        await self._repeat(attempt)

    async def split(self, content_id: UUID, records: Iterable[RecordKey]) -> UUID:
        """Take records out of a content into a new one, on an administrator's word, whatever ids they share.

        Returns
        -------
        UUID
            The new content.

        Raises
        ------
        NotFoundError
            The content does not exist or does not hold one of the records.
        ConflictError
            Nothing would be left of the content.
        InvalidInputError
            No records named.
        """
        leaving, new = set(records), uuid7()
        if not leaving:
            raise InvalidInputError("a split takes at least one record")

        async def attempt(connection: DirectConnection) -> None:
            held = await hold_all(connection, {content_id})
            keys = {member.key for member in held.members}
            if not leaving <= keys:
                raise NotFoundError(f"content {content_id} does not hold these records")
            if leaving == keys:
                raise ConflictError("a split must leave the content at least one record")
            await pin(connection, held, {key: new if key in leaving else content_id for key in keys})

        await self._repeat(attempt)
        return new

    async def remove(self, content_id: UUID, *, reason: str = "admin") -> None:
        """Take a content out of the catalogue. It stays out when sources speak of it again, until `restore`.

        Raises
        ------
        NotFoundError
            It does not exist.
        """

        async def attempt(connection: DirectConnection) -> None:
            held = await hold_all(connection, {content_id})
            if not held.contents[content_id].removed:
                now = datetime.now(UTC)
                await write.set_removed(connection, content_id, now, now)
                await announce_removal(connection.connection, content_id, now, reason=reason)

        await self._repeat(attempt)

    async def restore(self, content_id: UUID) -> None:
        """Put a removed content back.

        Raises
        ------
        NotFoundError
            It does not exist.
        """

        async def attempt(connection: DirectConnection) -> None:
            held = await hold_all(connection, {content_id})
            if held.contents[content_id].removed:
                now = datetime.now(UTC)
                await write.set_removed(connection, content_id, None, now)
                await announce_return(connection.connection, content_id, now)

        await self._repeat(attempt)

    async def resolve_redirect(self, content_id: UUID) -> UUID | None:
        """The content that a merged one is part of now, None if it was never merged."""
        async with self._database.transaction() as connection:
            return await read.redirect(await DirectConnection.under(connection), content_id)

    async def _prepare(
        self, records: Sequence[SourceRecord], run: RunContext, report: WriteReport
    ) -> tuple[dict[str, list[int]], list[Member], dict[RecordKey, list[tuple[UUID, float]]]]:
        """Indexes and members by source id, without the records that can be rejected before the database sees them."""
        places: dict[str, list[int]] = {}
        members: dict[str, Member] = {}
        near: dict[RecordKey, list[tuple[UUID, float]]] = {}
        for index, record in enumerate(records):
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            member = Member.arriving(record, run.priority)
            rejection = _reject(index, member, run)
            if rejection is None and record.embedding is not None and self._vectors is not None:
                try:
                    near[member.key] = await _near(self._vectors, record)
                except InvalidInputError as error:
                    rejection = Rejection(index, "embedding", error.message)
            if rejection is not None:
                report.rejected.append(rejection)
                continue
            known = members.get(record.source_id)
            if known is not None:
                whole = Member.arriving(overlay(known.record, record), run.priority)
                member = replace(whole, digest=member.digest)
            members[record.source_id] = member
            places.setdefault(record.source_id, []).append(index)
        return places, list(members.values()), near

    async def _repeat(
        self, attempt: Callable[[DirectConnection], Awaitable[T]], lock_first: set[UUID] | None = None
    ) -> T:
        """Run a transaction again as long as other writers are faster."""
        pause_ms = PAUSE_MS
        for _ in range(TRIES):
            try:
                async with self._database.transaction() as connection:
                    return await attempt(await DirectConnection.under(connection))
            except StaleReadError as stale:
                _repeats.inc()
                if lock_first is not None:
                    lock_first |= stale.contents
            await asyncio.sleep(random.uniform(0, pause_ms) / 1000)  # noqa: S311 - spreads writers, no secret
            pause_ms = min(2 * pause_ms, 500)
        _log.warning("catalogue transaction given up", tries=TRIES)
        raise UnavailableError("other writers kept changing the same contents", retry_after_ms=1_000)


def _reject(index: int, member: Member, run: RunContext) -> Rejection | None:
    if member.record.source != run.source:
        return Rejection(
            index, "source", f"the record says {member.record.source}, the run is of {run.source}"
        )
    if (path := nul_field(member.body)) is not None:
        return Rejection(index, path, "contains a NUL character")
    return None


async def _near(vectors: VectorIndex, record: SourceRecord) -> list[tuple[UUID, float]]:
    vector = np.asarray(record.embedding, dtype=np.float32)
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise InvalidInputError("an embedding must be finite and not all zero")
    where = VectorFilter(content_types=(record.content_type.value,))
    hits = await vectors.search(
        vector / np.float32(length), top_k=NEIGHBOURS, where=where, with_payload=False
    )
    return [(hit.content_id, hit.similarity) for hit in hits if hit.similarity >= EMBEDDING_SIMILARITY]


def _report(
    prepared: WriteReport, places: Mapping[str, list[int]], outcome: Outcome, refused: Mapping[str, str]
) -> WriteReport:
    report = WriteReport(rejected=list(prepared.rejected), content_ids=list(prepared.content_ids))
    for source_id, indexes in places.items():
        if source_id in refused:
            report.rejected += [Rejection(index, "", refused[source_id]) for index in indexes]
            continue
        for index in indexes:
            report.content_ids[index] = outcome.content_ids[source_id]
        if source_id in outcome.unchanged:
            report.unchanged += len(indexes)
        elif source_id in outcome.created:
            # The record's later statements in the same batch changed what the first one made.
            report.created += 1
            report.updated += len(indexes) - 1
        else:
            report.updated += len(indexes)
    report.rejected.sort()
    return report


def _count(report: WriteReport) -> None:
    for name in ("created", "updated", "unchanged"):
        _records.labels(name).inc(getattr(report, name))
    _records.labels("rejected").inc(len(report.rejected))
