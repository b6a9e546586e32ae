"""API keys in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.store.audit import add_entry
from media_gateway.core.adapters.postgres import Database

MAX_LIVE = 25
"""Most live keys of a person."""

_LIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
# Keys that are made at once are counted one after the other.
_LOCK = sa.text("SELECT 1 FROM users WHERE id = :user_id FOR UPDATE")
_ADD = sa.text(
    "INSERT INTO api_keys (id, user_id, name, prefix, key_digest, scopes, expires_at) "  # noqa: S608 - constants
    "SELECT :id, :user_id, :name, :prefix, :digest, :scopes, now() + make_interval(days => :days) "
    f"WHERE (SELECT count(*) FROM api_keys WHERE user_id = :user_id AND {_LIVE}) < {MAX_LIVE} "
    "RETURNING id, name, prefix, scopes, created_at, last_used_at, expires_at"
).bindparams(sa.bindparam("days", type_=sa.Integer))
_LIST = sa.text(
    "SELECT id, name, prefix, scopes, created_at, last_used_at, expires_at FROM api_keys "  # noqa: S608 - constants
    f"WHERE user_id = :user_id AND {_LIVE} ORDER BY id"
)
_REVOKE = sa.text(
    "UPDATE api_keys SET revoked_at = now() WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL"
)
_FIND = sa.text(
    f"SELECT id, user_id, scopes, expires_at, last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS stale "  # noqa: S608 - constants
    f"FROM api_keys WHERE key_digest = :digest AND {_LIVE}"
)
# Asked again, since others may have written it meanwhile.
_USED = sa.text(
    "UPDATE api_keys SET last_used_at = now() "
    "WHERE id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be kept; without ``days`` it never expires."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    digest: bytes
    scopes: Sequence[str]
    days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptKey:
    """A live key as its owner sees it."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKey:
    """A live key as it is used."""

    id: UUID
    user_id: UUID
    scopes: frozenset[str]
    expires_at: datetime | None


class ApiKeyStore:
    """All keys. Raises UnavailableError or DeadlineExceededError if the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: NewKey, entry: AuditEntry) -> KeptKey | None:
        """Keep a new key; None if its owner has `MAX_LIVE` already."""
        values = {
            "id": key.id,
            "user_id": key.user_id,
            "name": key.name,
            "prefix": key.prefix,
            "digest": key.digest,
            "scopes": list(key.scopes),
            "days": key.days,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, {"user_id": key.user_id})
            row = (await connection.execute(_ADD, values)).one_or_none()
            if row is None:
                return None
            await add_entry(connection, entry)
        return _kept(row)

    async def of(self, user_id: UUID) -> list[KeptKey]:
        """The live keys of a person, oldest first."""
        async with self._database.transaction() as connection:
            return [_kept(row) for row in await connection.execute(_LIST, {"user_id": user_id})]

    async def revoke(self, user_id: UUID, key_id: UUID, entry: AuditEntry) -> bool:
        """End a key; False if this person has no such key, or it was ended before."""
        async with self._database.transaction() as connection:
            values = {"id": key_id, "user_id": user_id}
            if (await connection.execute(_REVOKE, values)).rowcount == 0:
                return False
            await add_entry(connection, entry)
        return True

    async def use(self, digest: bytes) -> LiveKey | None:
        """The live key of a digest, noted as used, once a minute at most."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_FIND, {"digest": digest})).one_or_none()
            if row is None:
                return None
            if row.stale:
                await connection.execute(_USED, {"id": row.id})
        return LiveKey(
            id=row.id, user_id=row.user_id, scopes=frozenset(row.scopes), expires_at=row.expires_at
        )


def _kept(row: sa.Row[Any]) -> KeptKey:
    return KeptKey(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
    )
