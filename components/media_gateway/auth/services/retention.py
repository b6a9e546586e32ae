"""Deletes what accounts keep long enough: expired codes, old entries of the audit log."""

import asyncio

from media_gateway.auth.store.audit import PostgresAuditLog
from media_gateway.auth.store.mailed_codes import prune_codes
from media_gateway.core.adapters.postgres import Database

PRUNE_EVERY_S = 3_600.0


class AccountRetention:
    """Looks every hour."""

    def __init__(self, database: Database, *, audit_kept_s: float) -> None:
        self._database = database
        self._audit = PostgresAuditLog(database)
        self._audit_kept_s = audit_kept_s

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            await self.prune()
            await asyncio.sleep(PRUNE_EVERY_S)

    async def prune(self) -> None:
        """Delete what is old now."""
        async with self._database.transaction() as connection:
            await prune_codes(connection)
        await self._audit.prune(kept_s=self._audit_kept_s)
