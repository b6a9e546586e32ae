"""People's rows in Postgres."""

from uuid import UUID

import sqlalchemy as sa

from media_gateway.auth.roles import scopes_of
from media_gateway.auth.subjects import Subject
from media_gateway.core.adapters.postgres import AsyncConnection, Database

_FIND = sa.text(
    "SELECT email, email_verified_at, display_name, tier, roles, content_rating_limit, blocked_genres, "
    "locked_at IS NULL AND deleted_at IS NULL AS enabled FROM users WHERE id = :user_id"
)


class AccountSubjects:
    """`Subjects` by the table of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, user_id: UUID) -> Subject | None:
        """The person as of now; None for one who never was.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached.
        """
        async with self._database.transaction() as connection:
            return await find_subject(connection, user_id)


async def find_subject(connection: AsyncConnection, user_id: UUID) -> Subject | None:
    """As `AccountSubjects.find`, as a part of what the transaction does."""
    row = (await connection.execute(_FIND, {"user_id": user_id})).one_or_none()
    if row is None:
        return None
    return Subject(
        user_id=user_id,
        email=row.email or "",
        email_verified=row.email_verified_at is not None,
        display_name=row.display_name,
        tier=row.tier,
        roles=tuple(row.roles),
        scopes=scopes_of(row.roles),
        content_rating_limit=row.content_rating_limit,
        blocked_genres=tuple(row.blocked_genres),
        enabled=row.enabled,
    )
