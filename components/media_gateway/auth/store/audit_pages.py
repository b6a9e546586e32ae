"""Reading the audit log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries; None for any."""

    user_id: UUID | None = None
    action: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_PAGE = sa.text(
    "SELECT id, timestamp, user_id, action, resource_type, resource_id, details, source, user_agent FROM audit_logs "
    "WHERE (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid)) "
    "AND (CAST(:user_id AS uuid) IS NULL OR user_id = CAST(:user_id AS uuid)) "
    "AND (CAST(:action AS text) IS NULL OR action = CAST(:action AS text)) "
    "AND (CAST(:resource_type AS text) IS NULL OR resource_type = CAST(:resource_type AS text)) "
    "AND (CAST(:resource_id AS text) IS NULL OR resource_id = CAST(:resource_id AS text)) "
    "AND (CAST(:since AS timestamptz) IS NULL OR timestamp >= CAST(:since AS timestamptz)) "
    "AND (CAST(:until AS timestamptz) IS NULL OR timestamp < CAST(:until AS timestamptz)) "
    "ORDER BY id DESC LIMIT :limit"
).bindparams(
    sa.bindparam("since", type_=sa.DateTime(timezone=True)),
    sa.bindparam("until", type_=sa.DateTime(timezone=True)),
)


class AuditPages:
    """The audit log, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: AuditFilter, *, before: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Entries that fit, older than one of them."""
        values = {name: getattr(wanted, name) for name in AuditFilter.__dataclass_fields__}
        async with self._database.transaction() as connection:
            rows = await connection.execute(_PAGE, {"before": before, "limit": limit, **values})
            return [row._asdict() for row in rows]
