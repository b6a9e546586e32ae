"""Where a person is signed in: the live grants of the person."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database

MOST_LISTED = 200

_LIVE = "user_id = :user_id AND revoked_at IS NULL AND expires_at > now()"
# Clients may come from a file, so that some have no row.
_LIST = sa.text(
    "SELECT g.id, g.client_id, coalesce(c.name, g.client_id) AS client_name, g.scopes, g.created_at, g.used_at "
    "FROM oauth_grants g LEFT JOIN oauth_clients c USING (client_id) "
    "WHERE g.user_id = :user_id AND g.revoked_at IS NULL AND g.expires_at > now() "
    "ORDER BY g.used_at DESC, g.id LIMIT :most"
)
_IS_LIVE = sa.text(f"SELECT 1 FROM oauth_grants WHERE id = :id AND {_LIVE}")  # noqa: S608 - a constant
_IDS = sa.text(f"SELECT id FROM oauth_grants WHERE {_LIVE}")  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A client that a person is signed in with."""

    id: UUID
    client_id: str
    client_name: str
    scopes: tuple[str, ...]
    created_at: datetime
    used_at: datetime


class SessionStore:
    """Reads grants; ending them is the issuer's. Raises UnavailableError or DeadlineExceededError if the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user_id: UUID) -> list[Session]:
        """The live sessions of a person, last used first."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_LIST, {"user_id": user_id, "most": MOST_LISTED})
            return [
                Session(
                    id=row.id,
                    client_id=row.client_id,
                    client_name=row.client_name,
                    scopes=tuple(row.scopes),
                    created_at=row.created_at,
                    used_at=row.used_at,
                )
                for row in rows
            ]

    async def is_live(self, user_id: UUID, session_id: UUID) -> bool:
        """Whether it is a live session of this person."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_IS_LIVE, {"user_id": user_id, "id": session_id})
            return found.one_or_none() is not None

    async def ids_of(self, user_id: UUID) -> list[UUID]:
        """All live sessions of a person."""
        async with self._database.transaction() as connection:
            return [row.id for row in await connection.execute(_IDS, {"user_id": user_id})]
