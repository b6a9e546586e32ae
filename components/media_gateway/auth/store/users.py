"""What signing in and registering read and write of people's rows. Every function works in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from media_gateway.core.adapters.postgres import AsyncConnection
from media_gateway.core.domain.ids import uuid7


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """An account that is not deleted.

    Attributes
    ----------
    signed_out_at : datetime | None
        When all its sessions and tokens were last to end: the same before and after something means that it was not
        signed out in between.
    """

    user_id: UUID
    email: str
    password_hash: str | None
    email_verified: bool
    pending_email: str | None
    locked: bool
    signed_out_at: datetime | None


_COLUMNS = (
    "id AS user_id, email, password_hash, email_verified_at IS NOT NULL AS email_verified, pending_email, "
    "locked_at IS NOT NULL AS locked, signed_out_at"
)
_BY_EMAIL = sa.text(f"SELECT {_COLUMNS} FROM users WHERE lower(email) = lower(:email)")  # noqa: S608
_BY_ID = sa.text(f"SELECT {_COLUMNS} FROM users WHERE id = :user_id AND deleted_at IS NULL")  # noqa: S608
_LOCKED = sa.text(f"SELECT {_COLUMNS} FROM users WHERE id = :user_id AND deleted_at IS NULL FOR UPDATE")  # noqa: S608
# An address that is taken gives the row that has it, in the same statement and with the same work.
_ADD = sa.text(
    "INSERT INTO users (id, email, password_hash, display_name) VALUES (:id, :email, :password_hash, :display_name) "
    "ON CONFLICT (lower(email)) WHERE email IS NOT NULL DO UPDATE SET updated_at = users.updated_at "
    "RETURNING id, email"
)
_REHASH = sa.text("UPDATE users SET password_hash = :new WHERE id = :user_id AND password_hash = :old")
_SET_PASSWORD = sa.text(
    "UPDATE users SET password_hash = :password_hash, updated_at = now() WHERE id = :user_id"
)
_PROVEN = sa.text(
    "UPDATE users SET email_verified_at = coalesce(email_verified_at, now()), updated_at = now() "
    "WHERE id = :user_id AND deleted_at IS NULL"
)
_PENDING = sa.text("UPDATE users SET pending_email = :email, updated_at = now() WHERE id = :user_id")
_MOVE = sa.text(
    "UPDATE users SET email = :email, pending_email = NULL, email_verified_at = now(), updated_at = now() "
    "WHERE id = :user_id"
)
_UNCHANGED = sa.text(
    "SELECT locked_at IS NULL AND deleted_at IS NULL AND signed_out_at IS NOT DISTINCT FROM :seen "
    "FROM users WHERE id = :user_id"
).bindparams(sa.bindparam("seen", type_=sa.DateTime(timezone=True)))
_SIGN_OUT = sa.text(
    "UPDATE users SET signed_out_at = clock_timestamp(), sign_out_due = true WHERE id = :user_id RETURNING signed_out_at"
)
_SIGNED_OUT = sa.text(
    "UPDATE users SET sign_out_due = false WHERE id = :user_id AND signed_out_at = :signed_out_at"
)
# Their refresh tokens go with them.
_END_GRANTS = sa.text(
    "DELETE FROM oauth_grants WHERE user_id = :user_id "
    "AND EXISTS (SELECT FROM users WHERE id = :user_id AND deleted_at IS NOT NULL)"
)
_DUE = sa.text(
    "SELECT id, signed_out_at FROM users WHERE sign_out_due "
    "AND signed_out_at < now() - make_interval(secs => :older_s) ORDER BY signed_out_at LIMIT 100"
)


async def account_by_email(connection: AsyncConnection, email: str) -> AccountRow | None:
    """The account of an address, however it is written."""
    row = (await connection.execute(_BY_EMAIL, {"email": email})).one_or_none()
    return None if row is None else AccountRow(**row._asdict())


async def account_by_id(connection: AsyncConnection, user_id: UUID) -> AccountRow | None:
    """An account; None if there is none or it is deleted."""
    row = (await connection.execute(_BY_ID, {"user_id": user_id})).one_or_none()
    return None if row is None else AccountRow(**row._asdict())


async def locked_account(connection: AsyncConnection, user_id: UUID) -> AccountRow | None:
    """As `account_by_id`, and nobody else changes it until the transaction ends."""
    row = (await connection.execute(_LOCKED, {"user_id": user_id})).one_or_none()
    return None if row is None else AccountRow(**row._asdict())


async def add_account(
    connection: AsyncConnection, *, email: str, password_hash: str, display_name: str
) -> tuple[UUID, str, bool]:
    """Make an account, unless the address has one; gives its id and its address, and whether it is new."""
    new = uuid7()
    values = {"id": new, "email": email, "password_hash": password_hash, "display_name": display_name}
    row = (await connection.execute(_ADD, values)).one()
    return row.id, row.email, row.id == new


async def rehash_password(connection: AsyncConnection, user_id: UUID, *, old: str, new: str) -> None:
    """Keep another hash of the same password, unless the password was changed meanwhile."""
    await connection.execute(_REHASH, {"user_id": user_id, "old": old, "new": new})


async def set_password(connection: AsyncConnection, user_id: UUID, password_hash: str) -> None:
    """Keep the hash of a new password."""
    await connection.execute(_SET_PASSWORD, {"user_id": user_id, "password_hash": password_hash})


async def note_proven_address(connection: AsyncConnection, user_id: UUID) -> None:
    """The person reads the mails that go to the account's address."""
    await connection.execute(_PROVEN, {"user_id": user_id})


async def set_pending_email(connection: AsyncConnection, user_id: UUID, email: str | None) -> None:
    """Keep an address that is still to be confirmed."""
    await connection.execute(_PENDING, {"user_id": user_id, "email": email})


async def move_account(connection: AsyncConnection, user_id: UUID, email: str) -> None:
    """Make a confirmed address the account's. One that is taken ends the transaction with ConflictError."""
    await connection.execute(_MOVE, {"user_id": user_id, "email": email})


async def is_still_signed_in(connection: AsyncConnection, user_id: UUID, seen: datetime | None) -> bool:
    """Whether an account is open and was not signed out since its `AccountRow` said ``signed_out_at``."""
    return bool((await connection.execute(_UNCHANGED, {"user_id": user_id, "seen": seen})).scalar())


async def begin_sign_out(connection: AsyncConnection, user_id: UUID) -> datetime:
    """Note that all sessions and tokens of a person are to end once the transaction is committed."""
    signed_out_at: datetime = (await connection.execute(_SIGN_OUT, {"user_id": user_id})).scalar_one()
    return signed_out_at


async def end_sign_out(connection: AsyncConnection, user_id: UUID, signed_out_at: datetime) -> None:
    """They have ended, unless another sign-out has begun since. What a deleted account allowed programs is forgotten."""
    await connection.execute(_END_GRANTS, {"user_id": user_id})
    await connection.execute(_SIGNED_OUT, {"user_id": user_id, "signed_out_at": signed_out_at})


async def due_sign_outs(connection: AsyncConnection, *, older_s: float) -> Sequence[tuple[UUID, datetime]]:
    """People whose sign-out began so many seconds ago and has not ended."""
    rows = await connection.execute(_DUE, {"older_s": older_s})
    return [(row.id, row.signed_out_at) for row in rows]
