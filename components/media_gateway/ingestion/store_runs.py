"""SQL of ingestion runs: identity, lease, progress with checkpoint, dead letters, cursors, retention.

`services.runs` writes through it, routes and commands read. A run's outcome is recorded in the transaction that writes
the records (`record`), so that checkpoint, counts and dead letters are always those of what is in the catalogue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import ConflictError, NotFoundError
from media_gateway.core.outbox import enqueue
from media_gateway.ingestion.runs import (
    Counts,
    DeadLetter,
    LeaseLostError,
    NewRun,
    Outcome,
    Run,
    RunState,
    StoredDeadLetter,
)

DEAD_LETTERS = "dead-letters"
"""Outbox destination of rejected records whose job names a topic for them."""

LEASE_LOST = "another process has taken the run over"

PURGE_LIMIT = 100
"""Runs deleted by one statement of the retention job; each takes its dead letters along."""

_COUNTS = tuple(part.name for part in fields(Counts))
_PLAIN = tuple(part.name for part in fields(Run) if part.name != "counts")
_COLUMNS = ", ".join((*_PLAIN, *_COUNTS))
# Every statement below is put together from literals of this module; values are always bound.
_UNFINISHED = "state IN ('Pending', 'Running', 'Suspended')"
_OPEN = sa.text(
    "INSERT INTO ingestion_runs (id, name, source, spec_hash, manifest, origin, mode, dry_run, start_cursor, cursor) "  # noqa: S608
    "SELECT :id, :name, :source, :spec_hash, CAST(:manifest AS jsonb), :origin, :mode, :dry_run, known.cursor, known.cursor "
    "FROM (SELECT (SELECT cursor FROM ingestion_cursors WHERE name = :name AND :mode = 'Incremental') AS cursor) AS known "
    f"ON CONFLICT (name, spec_hash) WHERE {_UNFINISHED} "
    f"DO UPDATE SET updated_at = ingestion_runs.updated_at RETURNING {_COLUMNS}"
)
_GET = sa.text(f"SELECT {_COLUMNS} FROM ingestion_runs WHERE id = :id")  # noqa: S608
_PAGE = sa.text(
    f"SELECT {_COLUMNS} FROM ingestion_runs WHERE (CAST(:before AS uuid) IS NULL OR id < :before) "  # noqa: S608
    "ORDER BY id DESC LIMIT :limit"
)
_LAST_COMPLETE = sa.text(
    f"SELECT {_COLUMNS} FROM ingestion_runs WHERE name = :name AND spec_hash = :spec_hash AND state = 'Complete' "  # noqa: S608
    "ORDER BY finished_at DESC LIMIT 1"
)
_CLAIM = sa.text(
    "UPDATE ingestion_runs SET lease_owner = :owner, lease_until = clock_timestamp() + :ttl, state = 'Running', "  # noqa: S608
    "reason = NULL, message = NULL, attempt = attempt + 1, started_at = coalesce(started_at, clock_timestamp()), "
    f"updated_at = clock_timestamp() WHERE id = :id AND {_UNFINISHED} "
    "AND (lease_until IS NULL OR lease_until < clock_timestamp() OR lease_owner = :owner) "
    f"RETURNING {_COLUMNS}"
).bindparams(sa.bindparam("ttl", type_=sa.Interval()))
_NEXT = sa.text(
    "SELECT id FROM ingestion_runs WHERE origin = :origin AND (state = 'Pending' OR (state IN ('Running', 'Suspended') "
    "AND (lease_until IS NULL OR lease_until < clock_timestamp()))) "
    "AND (state <> 'Suspended' OR updated_at < clock_timestamp() - CAST(:pause AS interval)) ORDER BY id LIMIT 1"
).bindparams(sa.bindparam("pause", type_=sa.Interval()))
_BEAT = sa.text(
    "UPDATE ingestion_runs SET lease_until = clock_timestamp() + :ttl, message = :message "
    "WHERE id = :id AND lease_owner = :owner "
    "RETURNING cancel_requested"
).bindparams(sa.bindparam("ttl", type_=sa.Interval()))
_RECORD = sa.text(
    "UPDATE ingestion_runs SET recorded = recorded + :batches, checkpoint = coalesce(:checkpoint, checkpoint), "  # noqa: S608
    "cursor = coalesce(:cursor, cursor), percent = :percent, rate_per_second = :rate_per_second, "
    "remaining_s = :remaining_s, updated_at = clock_timestamp(), "
    + ", ".join(f"{name} = {name} + :{name}" for name in _COUNTS)
    + " WHERE id = :id AND lease_owner = :owner AND recorded = :first "
    f"RETURNING cancel_requested, {', '.join(_COUNTS)}"
)
_RECORDED = sa.text(
    f"SELECT lease_owner, recorded, cancel_requested, {', '.join(_COUNTS)} FROM ingestion_runs WHERE id = :id"  # noqa: S608
)
_KEEP_LISTED = sa.text(
    "UPDATE source_records SET run_id = :run_id WHERE source = :source AND source_id = ANY(:source_ids)"
).bindparams(sa.bindparam("source_ids", type_=ARRAY(sa.Text())))
_DELIVERED = sa.text(
    "INSERT INTO consumed_events (consumer, event_id) VALUES ('webhooks', :part_id) ON CONFLICT DO NOTHING"
)
_RECORD_DELIVERY = sa.text(
    "UPDATE ingestion_runs SET state = 'Running', recorded = recorded + 1, updated_at = clock_timestamp(), "  # noqa: S608
    "started_at = coalesce(started_at, clock_timestamp()), "
    + ", ".join(f"{name} = {name} + :{name}" for name in _COUNTS)
    + " WHERE id = :id"
)
_DEAD_LETTERS = sa.text(
    "INSERT INTO ingestion_dead_letters (run_id, line, position, source_id, field, reason, excerpt) "
    "SELECT :run_id, * FROM unnest(:lines, :positions, :source_ids, :fields, :reasons, :excerpts)"
).bindparams(
    sa.bindparam("run_id", type_=sa.Uuid()),
    sa.bindparam("lines", type_=ARRAY(sa.BigInteger())),
    *(
        sa.bindparam(name, type_=ARRAY(sa.Text()))
        for name in ("positions", "source_ids", "fields", "reasons", "excerpts")
    ),
)
_DEAD_PAGE = sa.text(
    "SELECT id, line, position, source_id, field, reason, excerpt, created_at FROM ingestion_dead_letters "
    "WHERE run_id = :run_id AND id > :after ORDER BY id LIMIT :limit"
)
_END = sa.text(
    "UPDATE ingestion_runs SET state = :state, reason = :reason, message = :message, lease_owner = NULL, "
    "lease_until = NULL, updated_at = clock_timestamp(), percent = CASE WHEN :state = 'Complete' THEN 100 ELSE percent END, "
    "remaining_s = CASE WHEN :state = 'Complete' THEN 0 END, "
    "finished_at = CASE WHEN :finished THEN clock_timestamp() END WHERE id = :id AND lease_owner = :owner RETURNING name, cursor"
)
_SAVE_CURSOR = sa.text(
    "INSERT INTO ingestion_cursors (name, cursor, run_id, updated_at) VALUES (:name, :cursor, :run_id, clock_timestamp()) "
    "ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, run_id = excluded.run_id, updated_at = excluded.updated_at"
)
_CANCEL = sa.text(
    "UPDATE ingestion_runs SET cancel_requested = true, updated_at = clock_timestamp(), "  # noqa: S608
    "state = CASE WHEN idle THEN 'Cancelled' ELSE state END, reason = CASE WHEN idle THEN 'Cancelled' ELSE reason END, "
    "finished_at = CASE WHEN idle THEN clock_timestamp() END "
    "FROM (SELECT lease_until IS NULL OR lease_until < clock_timestamp() AS idle FROM ingestion_runs WHERE id = :id FOR UPDATE) "
    f"AS lease WHERE id = :id AND {_UNFINISHED} RETURNING {_COLUMNS}"
)
_PURGE = sa.text(
    "DELETE FROM ingestion_runs WHERE id IN (SELECT id FROM ingestion_runs WHERE finished_at < clock_timestamp() - :age "
    "ORDER BY finished_at LIMIT :limit)"
).bindparams(sa.bindparam("age", type_=sa.Interval()))
_TRIM = sa.text(
    "DELETE FROM ingestion_dead_letters WHERE id IN (SELECT letter.id FROM ingestion_dead_letters AS letter "
    "JOIN ingestion_runs AS run ON run.id = letter.run_id WHERE run.origin = :origin "
    "AND letter.created_at < clock_timestamp() - :age LIMIT 10000)"
).bindparams(sa.bindparam("age", type_=sa.Interval()))
_SOURCES = sa.text(
    f"SELECT DISTINCT ON (source) {_COLUMNS} FROM ingestion_runs WHERE NOT dry_run ORDER BY source, id DESC LIMIT 1000"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run after recording: all its counts, and whether somebody asked to cancel it."""

    counts: Counts
    cancel_requested: bool


class RunStore:
    """Runs in Postgres.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, new: NewRun) -> Run:
        """The unfinished run of the same name and spec, or a new one.

        A new Incremental run starts at the stored cursor of its name.
        """
        values = {part.name: getattr(new, part.name) for part in fields(new)}
        values |= {"id": uuid7(), "manifest": orjson.dumps(new.manifest).decode()}
        async with self._database.transaction() as connection:
            return _run((await connection.execute(_OPEN, values)).one())

    async def get(self, run_id: UUID) -> Run:
        """One run.

        Raises
        ------
        NotFoundError
            There is none of that id (any more).
        """
        async with self._database.transaction() as connection:
            return _found((await connection.execute(_GET, {"id": run_id})).one_or_none(), run_id)

    async def page(self, *, before: UUID | None, limit: int) -> list[Run]:
        """Runs, newest first, older than ``before``."""
        async with self._database.transaction() as connection:
            return [_run(row) for row in await connection.execute(_PAGE, {"before": before, "limit": limit})]

    async def last_complete(self, name: str, spec_hash: str) -> Run | None:
        """The newest complete run of exactly this manifest."""
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(_LAST_COMPLETE, {"name": name, "spec_hash": spec_hash})
            ).one_or_none()
            return _run(row) if row else None

    async def newest_by_source(self) -> list[Run]:
        """The newest run of each source."""
        async with self._database.transaction() as connection:
            return [_run(row) for row in await connection.execute(_SOURCES)]

    async def next_for(self, origin: str, *, pause: timedelta) -> UUID | None:
        """The oldest run of an origin that waits for a process; suspended ones only after a pause."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_NEXT, {"origin": origin, "pause": pause})
            value: UUID | None = found.scalar_one_or_none()
            return value

    async def claim(self, run_id: UUID, owner: UUID, ttl: timedelta) -> Run | None:
        """Become the one process that works on the run; None if another one is, or the run is finished."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_CLAIM, {"id": run_id, "owner": owner, "ttl": ttl})).one_or_none()
            return _run(row) if row else None

    async def beat(self, run_id: UUID, owner: UUID, ttl: timedelta, message: str | None) -> bool:
        """Keep the lease and say what the run waits for; whether somebody asked to cancel it.

        Raises
        ------
        LeaseLostError
            Another process has it.
        """
        async with self._database.transaction() as connection:
            found = await connection.execute(
                _BEAT, {"id": run_id, "owner": owner, "ttl": ttl, "message": message}
            )
            cancel: bool | None = found.scalar_one_or_none()
        if cancel is None:
            raise LeaseLostError(LEASE_LOST)
        return cancel

    async def record(self, outcome: Outcome, run_id: UUID, owner: UUID) -> Recorded:
        """`record_in` in a transaction of its own."""
        async with self._database.transaction() as connection:
            return await record_in(connection, outcome, run_id, owner)

    async def end(
        self, run_id: UUID, owner: UUID, state: RunState, ending: tuple[str | None, str | None]
    ) -> None:
        """Let go of the run in a state, with reason and message; a complete run's cursor becomes that of its name.

        Raises
        ------
        LeaseLostError
            Another process has it.
        """
        reason, message = ending
        values = {"id": run_id, "owner": owner, "state": state.value, "finished": state.finished}
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(_END, {**values, "reason": reason, "message": message})
            ).one_or_none()
            if row is None:
                raise LeaseLostError(LEASE_LOST)
            if state is RunState.COMPLETE and row.cursor is not None:
                saved = {"name": row.name, "cursor": row.cursor, "run_id": run_id}
                await connection.execute(_SAVE_CURSOR, saved)

    async def request_cancel(self, run_id: UUID) -> Run:
        """Ask the process that works on the run to stop; a run nobody works on is cancelled at once.

        Raises
        ------
        NotFoundError, ConflictError
            There is no such run; it is finished.
        """
        async with self._database.transaction() as connection:
            row = (await connection.execute(_CANCEL, {"id": run_id})).one_or_none()
            if row is not None:
                return _run(row)
            run = _found((await connection.execute(_GET, {"id": run_id})).one_or_none(), run_id)
            raise ConflictError(f"the job is finished already: {run.state}")

    async def dead_letters(self, run_id: UUID, *, after: int, limit: int) -> list[StoredDeadLetter]:
        """Dead letters of a run in the order of the source, behind the id ``after``."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_DEAD_PAGE, {"run_id": run_id, "after": after, "limit": limit})
            return [StoredDeadLetter(**row) for row in found.mappings()]

    async def purge(self, age: timedelta) -> int:
        """Delete finished runs older than ``age`` with their dead letters; returns the number of runs.

        Webhook intake is a run that never finishes; its dead letters are deleted by their own age.
        """
        total = 0
        while True:
            async with self._database.transaction(timeout_ms=60_000) as connection:
                await connection.execute(_TRIM, {"age": age, "origin": "webhook"})
                gone = (await connection.execute(_PURGE, {"age": age, "limit": PURGE_LIMIT})).rowcount
            total += gone
            if gone < PURGE_LIMIT:
                return total


async def record_in(connection: AsyncConnection, outcome: Outcome, run_id: UUID, owner: UUID) -> Recorded:
    """Add batches to their run, in the transaction that writes them.

    Repeating it is safe: batches that are recorded already are not counted again.

    Raises
    ------
    LeaseLostError
        Another process has the run.
    """
    values = {"id": run_id, "owner": owner, "first": outcome.first, "batches": outcome.batches}
    values |= {name: getattr(outcome.counts, name) for name in _COUNTS}
    values |= {
        name: getattr(outcome, name)
        for name in ("checkpoint", "cursor", "percent", "rate_per_second", "remaining_s")
    }
    row = (await connection.execute(_RECORD, values)).one_or_none()
    if row is None:
        row = (await connection.execute(_RECORDED, {"id": run_id})).one_or_none()
        if row is None or row.lease_owner != owner or row.recorded < outcome.first + outcome.batches:
            raise LeaseLostError(LEASE_LOST)
    else:
        await insert_dead_letters(connection, run_id, outcome.dead_letters)
        await enqueue(connection, DEAD_LETTERS, outcome.published)
    return Recorded(Counts(**{name: getattr(row, name) for name in _COUNTS}), row.cancel_requested)


async def record_delivery(
    connection: AsyncConnection, run_id: UUID, part_id: UUID, counts: Counts, letters: Sequence[DeadLetter]
) -> None:
    """Count a part of a webhook delivery in the transaction that writes it; a part that was counted is not again."""
    new = await connection.execute(_DELIVERED, {"part_id": part_id})
    if new.rowcount:
        values = {name: getattr(counts, name) for name in _COUNTS}
        await connection.execute(_RECORD_DELIVERY, {"id": run_id, **values})
        await insert_dead_letters(connection, run_id, letters)


async def keep_listed(connection: AsyncConnection, run: Run, source_ids: Sequence[str]) -> None:
    """Note that the source lists records that could not be taken, so that the end of a Full run does not end them."""
    if source_ids:
        values = {"run_id": run.id, "source": run.source, "source_ids": sorted(source_ids)}
        await connection.execute(_KEEP_LISTED, values)


async def check_lease(connection: AsyncConnection, run_id: UUID, owner: UUID) -> None:
    """Raise `LeaseLostError` if another process has the run."""
    row = (await connection.execute(_RECORDED, {"id": run_id})).one_or_none()
    if row is None or row.lease_owner != owner:
        raise LeaseLostError(LEASE_LOST)


async def insert_dead_letters(
    connection: AsyncConnection, run_id: UUID, letters: Sequence[DeadLetter]
) -> None:
    """Keep rejected records, in the order given."""
    if not letters:
        return
    columns = {
        f"{name}s": [getattr(letter, name) for letter in letters]
        for name in ("line", "position", "source_id", "field", "reason", "excerpt")
    }
    await connection.execute(_DEAD_LETTERS, {"run_id": run_id, **columns})


def _found(row: Any, run_id: UUID) -> Run:
    if row is None:
        raise NotFoundError(f"there is no ingestion job {run_id}")
    return _run(row)


def _run(row: Any) -> Run:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way from a row to a mapping
    counts = Counts(**{name: values.pop(name) for name in _COUNTS})
    return Run(**{**values, "state": RunState(values["state"])}, counts=counts)
