"""The outbox tables, as the relay reads and writes them. Only `OutboxRelay` and tests use this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.adapters.postgres import Database, translated

COUNT_LIMIT = 100_000
"""Backlogs are counted exactly up to here: counting millions of rows every few seconds would slow down what drains them."""

PURGE_LIMIT = 10_000
"""Rows deleted by one statement of the retention job: small enough to hold no lock for long."""

REASON_LIMIT = 1_000
"""Longest stored reason of a rejected row, in characters."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row on its way to a handler.

    Attributes
    ----------
    id : int
        Grows in the order in which rows were written.
    key : str
        Rows of one key are delivered in order.
    body : bytes
        What the writer gave.
    created_at : datetime
        When it was written, aware UTC.
    """

    id: int
    key: str
    body: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one destination: number of rows (at most ``COUNT_LIMIT``) and age of the oldest in seconds."""

    rows: int
    age_s: float


_LOCK = sa.text(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('media-gateway outbox ' || :destination, 0)), "
    "set_config('idle_in_transaction_session_timeout', :idle_ms, true)"
)
_FETCH = sa.text(
    "SELECT id, key, body, created_at FROM outbox WHERE destination = :destination ORDER BY id LIMIT :limit"
)
# By their ids, never by a range: a transaction that drew a lower id may have committed in the meantime.
_DELETE = sa.text("DELETE FROM outbox WHERE destination = :destination AND id = ANY(:ids)").bindparams(
    sa.bindparam("ids", type_=ARRAY(sa.BigInteger()))
)
_REJECT = sa.text(
    "WITH gone AS (DELETE FROM outbox WHERE destination = :destination AND id = :id RETURNING *) "
    "INSERT INTO outbox_rejected (id, destination, key, body, created_at, reason) "
    "SELECT id, destination, key, body, created_at, :reason FROM gone"
)
_PEEK = sa.text("SELECT EXISTS (SELECT FROM outbox WHERE destination = :destination AND id <= :up_to)")
_LAST = sa.text("SELECT coalesce(max(id), 0) FROM outbox WHERE destination = :destination")
_BACKLOG = sa.text(
    "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM "
    "(SELECT created_at FROM outbox WHERE destination = :destination ORDER BY id LIMIT :limit) AS waiting"
)
_PURGE: Mapping[str, sa.TextClause] = {
    table: sa.text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - both names are literals of this mapping
        f"SELECT ctid FROM {table} WHERE {column} < now() - :age ORDER BY {column} LIMIT {PURGE_LIMIT}))"
    ).bindparams(sa.bindparam("age", type_=sa.Interval()))
    for table, column in (("outbox_rejected", "rejected_at"), ("consumed_events", "consumed_at"))
}
_REQUEUE = sa.text(
    "WITH back AS (DELETE FROM outbox_rejected WHERE destination = :destination RETURNING *) "
    "INSERT INTO outbox (destination, key, body, created_at) "
    "SELECT destination, key, body, created_at FROM back ORDER BY id"
)
LAST_ID = 2**63 - 1


async def try_lock(connection: AsyncConnection, destination: str, *, idle_ms: int) -> bool:
    """Become the one relay of a destination until the transaction ends; False if another one is.

    The server ends the transaction, and with it the lock, once the relay was silent for ``idle_ms``.
    """
    held = await connection.execute(_LOCK, {"destination": destination, "idle_ms": str(idle_ms)})
    return bool(held.scalar_one())


async def fetch(connection: AsyncConnection, destination: str, limit: int) -> list[OutboxRow]:
    """The oldest rows. A statement of its own after `try_lock`, so that it sees what the last holder deleted."""
    found = await connection.execute(_FETCH, {"destination": destination, "limit": limit})
    return [OutboxRow(*row) for row in found.all()]


async def delete(connection: AsyncConnection, destination: str, rows: Sequence[OutboxRow]) -> None:
    """Remove delivered rows."""
    if rows:
        await connection.execute(_DELETE, {"destination": destination, "ids": [row.id for row in rows]})


async def reject(connection: AsyncConnection, destination: str, row: OutboxRow, reason: str) -> None:
    """Set a row aside, with the reason."""
    # Postgres text holds no NUL.
    text = reason.replace("\0", "�")[:REASON_LIMIT]
    await connection.execute(_REJECT, {"destination": destination, "id": row.id, "reason": text})


async def peek(database: Database, destination: str, up_to: int = LAST_ID) -> bool:
    """Whether a row waits (with an id up to the given one). The cheapest question there is: relays ask it all the time."""
    with translated():
        async with database.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            found = await connection.execute(_PEEK, {"destination": destination, "up_to": up_to})
            return bool(found.scalar_one())


async def last_id(database: Database, destination: str) -> int:
    """Highest id that waits, 0 if none does."""
    async with database.transaction() as connection:
        return int((await connection.execute(_LAST, {"destination": destination})).scalar_one())


async def backlog(database: Database, destination: str) -> Backlog:
    """What waits for a destination."""
    async with database.transaction() as connection:
        found = await connection.execute(_BACKLOG, {"destination": destination, "limit": COUNT_LIMIT})
        return Backlog(*found.one())


async def purge(database: Database, table: str, age: timedelta) -> int:
    """Delete rows of ``outbox_rejected`` or ``consumed_events`` that are older than an age; returns how many."""
    total = 0
    while True:
        async with database.transaction() as connection:
            gone = (await connection.execute(_PURGE[table], {"age": age})).rowcount
        total += gone
        if gone < PURGE_LIMIT:
            return total


async def requeue_rejected(connection: AsyncConnection, destination: str) -> int:
    """Put every rejected row of a destination back into its outbox (behind what waits); returns how many."""
    return (await connection.execute(_REQUEUE, {"destination": destination})).rowcount
