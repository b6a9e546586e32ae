"""Second factors in Postgres. What must happen once is one statement that finds its row only once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.store.audit import add_entry
from media_gateway.core.adapters.postgres import Database

_FIND = sa.text("SELECT sealed_secret, confirmed_at, last_step FROM second_factors WHERE user_id = :user_id")
_LEFT = sa.text("SELECT count(*) FROM backup_codes WHERE user_id = :user_id AND used_at IS NULL")
_OFFER = sa.text(
    "INSERT INTO second_factors (user_id, sealed_secret) VALUES (:user_id, :sealed) "
    "ON CONFLICT (user_id) DO UPDATE SET sealed_secret = excluded.sealed_secret, last_step = 0 "
    "WHERE second_factors.confirmed_at IS NULL"
)
# The sealed secret is never the same twice: a code of an enrolment that was replaced meanwhile confirms nothing.
_CONFIRM = sa.text(
    "UPDATE second_factors SET confirmed_at = now(), last_step = :step "
    "WHERE user_id = :user_id AND confirmed_at IS NULL AND sealed_secret = :sealed"
)
_SPEND_STEP = sa.text(
    "UPDATE second_factors SET last_step = :step "
    "WHERE user_id = :user_id AND confirmed_at IS NOT NULL AND sealed_secret = :sealed AND last_step < :step"
)
_SPEND_BACKUP_CODE = sa.text(
    "UPDATE backup_codes SET used_at = now() "
    "WHERE user_id = :user_id AND code_digest = :digest AND used_at IS NULL"
)
# Orders the sets of two requests at once: the later one replaces the earlier one whole.
_LOCK = sa.text(
    "SELECT 1 FROM second_factors WHERE user_id = :user_id AND confirmed_at IS NOT NULL FOR UPDATE"
)
_REMOVE_CODES = sa.text("DELETE FROM backup_codes WHERE user_id = :user_id")
_ADD_CODES = sa.text(
    "INSERT INTO backup_codes (user_id, code_digest) "
    "SELECT :user_id, unnest(CAST(:digests AS bytea[])) ON CONFLICT DO NOTHING"
)
_REMOVE = sa.text("DELETE FROM second_factors WHERE user_id = :user_id AND confirmed_at IS NOT NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFactor:
    """The row of a person's app; ``last_step`` is that of the last accepted code."""

    sealed_secret: bytes
    confirmed_at: datetime | None
    last_step: int


class SecondFactorStore:
    """Apps and backup codes. Raises UnavailableError or DeadlineExceededError if the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, user_id: UUID) -> KeptFactor | None:
        """The app of a person, confirmed or not."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_FIND, {"user_id": user_id})).one_or_none()
        if row is None:
            return None
        return KeptFactor(
            sealed_secret=bytes(row.sealed_secret), confirmed_at=row.confirmed_at, last_step=row.last_step
        )

    async def codes_left(self, user_id: UUID) -> int:
        """How many backup codes are unused."""
        async with self._database.transaction() as connection:
            return int((await connection.execute(_LEFT, {"user_id": user_id})).scalar_one())

    async def offer(self, user_id: UUID, sealed_secret: bytes) -> bool:
        """Keep the secret of an app that is not confirmed yet; False if there is one that is."""
        async with self._database.transaction() as connection:
            values = {"user_id": user_id, "sealed": sealed_secret}
            return (await connection.execute(_OFFER, values)).rowcount == 1

    async def confirm(
        self, factor: KeptFactor, step: int, digests: Sequence[bytes], entry: AuditEntry
    ) -> bool:
        """Switch an offered app on, with its first backup codes; False if that was done, or undone, meanwhile."""
        values = {"user_id": entry.user_id, "sealed": factor.sealed_secret, "step": step}
        async with self._database.transaction() as connection:
            if (await connection.execute(_CONFIRM, values)).rowcount == 0:
                return False
            assert entry.user_id is not None
            await _replace_codes(connection, entry.user_id, digests)
            await add_entry(connection, entry)
        return True

    async def spend_step(self, user_id: UUID, factor: KeptFactor, step: int) -> bool:
        """Accept a code of the app, unless it or a later one was accepted before."""
        values = {"user_id": user_id, "sealed": factor.sealed_secret, "step": step}
        async with self._database.transaction() as connection:
            return (await connection.execute(_SPEND_STEP, values)).rowcount == 1

    async def spend_backup_code(self, user_id: UUID, digest: bytes, entry: AuditEntry) -> bool:
        """Accept a backup code, once."""
        values = {"user_id": user_id, "digest": digest}
        async with self._database.transaction() as connection:
            if (await connection.execute(_SPEND_BACKUP_CODE, values)).rowcount == 0:
                return False
            await add_entry(connection, entry)
        return True

    async def replace_codes(self, user_id: UUID, digests: Sequence[bytes], entry: AuditEntry) -> bool:
        """A new set of backup codes; False if there is no confirmed app any more."""
        async with self._database.transaction() as connection:
            if (await connection.execute(_LOCK, {"user_id": user_id})).one_or_none() is None:
                return False
            await _replace_codes(connection, user_id, digests)
            await add_entry(connection, entry)
        return True

    async def remove(self, user_id: UUID, entry: AuditEntry) -> None:
        """Forget the app and its backup codes."""
        async with self._database.transaction() as connection:
            if (await connection.execute(_REMOVE, {"user_id": user_id})).rowcount == 1:
                await connection.execute(_REMOVE_CODES, {"user_id": user_id})
                await add_entry(connection, entry)


async def _replace_codes(connection: AsyncConnection, user_id: UUID, digests: Sequence[bytes]) -> None:
    await connection.execute(_REMOVE_CODES, {"user_id": user_id})
    await connection.execute(_ADD_CODES, {"user_id": user_id, "digests": list(digests)})
