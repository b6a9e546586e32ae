"""Mails that are to be sent, in Postgres. Every function works in the caller's transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from media_gateway.core.adapters.postgres import AsyncConnection
from media_gateway.core.domain.ids import uuid7


class MailKind(StrEnum):
    """What a mail is about."""

    VERIFY_EMAIL = "verify_email"
    REGISTERED_AGAIN = "registered_again"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a kind, not a secret
    CHANGE_EMAIL = "change_email"
    EMAIL_CHANGED = "email_changed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - as above
    ACCOUNT_DELETED = "account_deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingMail:
    """A mail that somebody is sending now.

    Attributes
    ----------
    recipient : str
        Address as it was typed, or as it was when a notice was due.
    user_id : UUID | None
        Whom it is about, if that was known.
    attempts : int
        With this one.
    is_late : bool
        What it says is no longer good: it is not to be sent.
    """

    mail_id: UUID
    kind: MailKind
    recipient: str
    user_id: UUID | None
    attempts: int
    created_at: datetime
    is_late: bool


_ADD = sa.text(
    "INSERT INTO mails (id, kind, recipient, user_id, expires_at) "
    "VALUES (:id, :kind, :recipient, :user_id, now() + make_interval(secs => :life_s))"
)
# Another sender skips the row while it is locked, and leaves it alone until the lease is over.
_CLAIM = sa.text(
    "UPDATE mails SET attempts = attempts + 1, next_try_at = now() + make_interval(secs => :lease_s) WHERE id = ("
    "SELECT id FROM mails WHERE next_try_at <= now() ORDER BY next_try_at LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "RETURNING id, kind, recipient, user_id, attempts, created_at, expires_at <= now() AS is_late"
)
_DONE = sa.text("DELETE FROM mails WHERE id = :id")
_RETRY = sa.text("UPDATE mails SET next_try_at = now() + make_interval(secs => :after_s) WHERE id = :id")
_WITHDRAW = sa.text(
    "DELETE FROM mails WHERE (user_id = :user_id OR lower(recipient) = lower(:email)) AND kind = ANY(:kinds)"
).bindparams(sa.bindparam("kinds", type_=ARRAY(sa.Text())))


async def add_mail(
    connection: AsyncConnection,
    kind: MailKind,
    recipient: str,
    *,
    life_s: float,
    user_id: UUID | None = None,
) -> None:
    """Have a mail sent once the transaction is committed.

    Parameters
    ----------
    life_s
        After so many seconds it is no longer worth sending.
    """
    values = {"kind": kind, "recipient": recipient, "user_id": user_id, "life_s": life_s}
    await connection.execute(_ADD, {"id": uuid7(), **values})


async def claim_mail(connection: AsyncConnection, *, lease_s: float) -> WaitingMail | None:
    """The mail that has waited longest; nobody else gets it for so many seconds."""
    row = (await connection.execute(_CLAIM, {"lease_s": lease_s})).one_or_none()
    if row is None:
        return None
    return WaitingMail(
        mail_id=row.id,
        kind=MailKind(row.kind),
        recipient=row.recipient,
        user_id=row.user_id,
        attempts=row.attempts,
        created_at=row.created_at,
        is_late=row.is_late,
    )


async def drop_mail(connection: AsyncConnection, mail_id: UUID) -> None:
    """Forget a mail: it is sent, or never will be."""
    await connection.execute(_DONE, {"id": mail_id})


async def retry_mail(connection: AsyncConnection, mail_id: UUID, *, after_s: float) -> None:
    """Have a mail sent again after so many seconds."""
    await connection.execute(_RETRY, {"id": mail_id, "after_s": after_s})


async def withdraw_mails(
    connection: AsyncConnection, user_id: UUID, email: str, kinds: Collection[MailKind]
) -> None:
    """Do not send a person's mails of some kinds that still wait."""
    await connection.execute(_WITHDRAW, {"user_id": user_id, "email": email, "kinds": list(kinds)})
