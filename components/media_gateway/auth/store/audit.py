"""The audit log in Postgres."""

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.auth.audit import AuditEntry
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7

MAX_USER_AGENT = 400
"""Characters of a user agent that are kept: it is whatever the other side sends."""

_INSERT = sa.text(
    "INSERT INTO audit_logs (id, user_id, action, resource_type, resource_id, details, source, user_agent) "
    "VALUES (:id, :user_id, :action, :resource_type, :resource_id, CAST(:details AS jsonb), :source, :user_agent)"
)
_PRUNE = sa.text("DELETE FROM audit_logs WHERE timestamp < now() - make_interval(secs => :kept_s)")


async def add_entry(connection: AsyncConnection, entry: AuditEntry) -> None:
    """Keep an entry together with what else the transaction does."""
    await connection.execute(
        _INSERT,
        {
            "id": uuid7(),
            "user_id": entry.user_id,
            "action": entry.action,
            "resource_type": entry.resource_type,
            "resource_id": entry.resource_id,
            "details": orjson.dumps(dict(entry.details)).decode(),
            "source": entry.source,
            "user_agent": entry.user_agent[:MAX_USER_AGENT] if entry.user_agent else None,
        },
    )


class PostgresAuditLog:
    """`AuditLog` in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entry: AuditEntry) -> None:
        """Keep an entry in a transaction of its own."""
        async with self._database.transaction() as connection:
            await add_entry(connection, entry)

    async def prune(self, *, kept_s: float) -> int:
        """Delete what is older than so many seconds; gives how many entries that were."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_PRUNE, {"kept_s": kept_s})).rowcount
