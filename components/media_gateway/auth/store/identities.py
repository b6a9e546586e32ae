"""Who people are at providers, in Postgres."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.store.audit import add_entry
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import ConflictError, NotFoundError

_USE = sa.text(
    "UPDATE oauth_identities SET used_at = now() WHERE provider = :provider AND provider_user_id = :id "
    "RETURNING user_id"
)
_EMAIL_TAKEN = sa.text("SELECT 1 FROM users WHERE lower(email) = lower(:email)")
_ADD_USER = sa.text(
    "INSERT INTO users (id, email, email_verified_at, display_name) VALUES (:user_id, :email, now(), :name)"
)
_ADD = sa.text(
    "INSERT INTO oauth_identities (provider, provider_user_id, user_id, email) "
    "VALUES (:provider, :id, :user_id, :email)"
)
_LIST = sa.text(
    "SELECT provider, email, created_at, used_at FROM oauth_identities WHERE user_id = :user_id ORDER BY provider"
)
# Removing two at once must not leave a person without a way in.
_LOCK = sa.text("SELECT password_hash IS NOT NULL AS has_password FROM users WHERE id = :user_id FOR UPDATE")
_COUNT = sa.text("SELECT count(*) FROM oauth_identities WHERE user_id = :user_id")
_REMOVE = sa.text("DELETE FROM oauth_identities WHERE user_id = :user_id AND provider = :provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenIdentity:
    """Somebody at a provider, as it was proven just now; ``email`` in use there, if it is verified."""

    provider: str
    id: str
    email: str | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A provider that a person signs in with."""

    provider: str
    email: str | None
    created_at: datetime
    used_at: datetime


class IdentityStore:
    """All identities. Raises UnavailableError or DeadlineExceededError if the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use(self, proven: ProvenIdentity) -> UUID | None:
        """Whose identity it is, noted as used."""
        async with self._database.transaction() as connection:
            values = {"provider": proven.provider, "id": proven.id}
            row = (await connection.execute(_USE, values)).one_or_none()
        return row.user_id if row else None

    async def add_person(self, proven: ProvenIdentity, entry: AuditEntry) -> UUID:
        """A new account for an identity with an e-mail address.

        Raises
        ------
        ConflictError
            The address has an account, or the identity got one meanwhile.
        """
        user_id = uuid7()
        values = {"user_id": user_id, "email": proven.email, "name": proven.name}
        async with self._database.transaction() as connection:
            if (await connection.execute(_EMAIL_TAKEN, {"email": proven.email})).first() is not None:
                raise ConflictError("there is an account with this e-mail address")
            await connection.execute(_ADD_USER, values)
            await connection.execute(_ADD, _row(proven, user_id))
            await add_entry(connection, _about(entry, user_id))
        return user_id

    async def link(self, user_id: UUID, proven: ProvenIdentity, entry: AuditEntry) -> None:
        """Let a person sign in with an identity.

        Raises
        ------
        ConflictError
            It is somebody's already, or the person has one at this provider.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_ADD, _row(proven, user_id))
            await add_entry(connection, _about(entry, user_id))

    async def of(self, user_id: UUID) -> list[Identity]:
        """The identities of a person."""
        async with self._database.transaction() as connection:
            return [Identity(**row._mapping) for row in await connection.execute(_LIST, {"user_id": user_id})]  # noqa: SLF001 - SQLAlchemy's public way to a mapping

    async def unlink(self, user_id: UUID, provider: str, entry: AuditEntry) -> None:
        """Take an identity from a person.

        Raises
        ------
        NotFoundError
            The person has none at this provider.
        ConflictError
            It is the only way in.
        """
        values = {"user_id": user_id, "provider": provider}
        async with self._database.transaction() as connection:
            person = (await connection.execute(_LOCK, {"user_id": user_id})).one_or_none()
            if person is None or (await connection.execute(_REMOVE, values)).rowcount == 0:
                raise NotFoundError("you have no identity at this provider")
            left = (await connection.execute(_COUNT, {"user_id": user_id})).scalar_one()
            if left == 0 and not person.has_password:
                raise ConflictError("this is the only way into your account: set a password first")
            await add_entry(connection, entry)


def _row(proven: ProvenIdentity, user_id: UUID) -> dict[str, object]:
    return {"provider": proven.provider, "id": proven.id, "user_id": user_id, "email": proven.email}


def _about(entry: AuditEntry, user_id: UUID) -> AuditEntry:
    return replace(entry, user_id=user_id, resource_id=str(user_id))
