"""Codes in links that were mailed, by their digests, in Postgres. Every function works in the caller's transaction."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from media_gateway.core.adapters.postgres import AsyncConnection

CODE_BYTES = 32
"""Random bytes of a code: nobody finds one by trying."""


class Purpose(StrEnum):
    """What a code is good for."""

    VERIFY_EMAIL = "verify_email"
    CHANGE_EMAIL = "change_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a purpose, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedCode:
    """A good code: whose, what for, and the address that a code of `CHANGE_EMAIL` proves."""

    user_id: UUID
    purpose: Purpose
    email: str | None


_ADD = sa.text(
    "INSERT INTO mailed_codes (code_digest, user_id, purpose, email, expires_at) "
    "VALUES (:digest, :user_id, :purpose, :email, now() + make_interval(secs => :life_s))"
)
_GOOD = "WHERE code_digest = :digest AND purpose = ANY(:purposes) AND expires_at > now()"
_PURPOSES = sa.bindparam("purposes", type_=ARRAY(sa.Text()))
_FIND = sa.text(f"SELECT user_id, purpose, email FROM mailed_codes {_GOOD}").bindparams(_PURPOSES)  # noqa: S608
# Deleted and told in one statement: of two who bring it at once, one gets a row.
_USE = sa.text(f"DELETE FROM mailed_codes {_GOOD} RETURNING user_id, purpose, email").bindparams(_PURPOSES)  # noqa: S608
_WITHDRAW = sa.text(
    "DELETE FROM mailed_codes WHERE user_id = :user_id AND purpose = ANY(:purposes)"
).bindparams(_PURPOSES)
_PRUNE = sa.text("DELETE FROM mailed_codes WHERE expires_at < now()")


async def add_code(
    connection: AsyncConnection, user_id: UUID, purpose: Purpose, *, life_s: float, email: str | None = None
) -> str:
    """Draw a code. It is told here and nowhere else: kept is its digest."""
    code = secrets.token_urlsafe(CODE_BYTES)
    values = {"user_id": user_id, "purpose": purpose, "email": email, "life_s": life_s}
    await connection.execute(_ADD, {"digest": _digest(code), **values})
    return code


async def find_code(
    connection: AsyncConnection, code: str, purposes: Collection[Purpose]
) -> MailedCode | None:
    """What a code is good for, if it is; it stays so."""
    row = (
        await connection.execute(_FIND, {"digest": _digest(code), "purposes": list(purposes)})
    ).one_or_none()
    return (
        None
        if row is None
        else MailedCode(user_id=row.user_id, purpose=Purpose(row.purpose), email=row.email)
    )


async def use_code(
    connection: AsyncConnection, code: str, purposes: Collection[Purpose]
) -> MailedCode | None:
    """As `find_code`, once."""
    row = (
        await connection.execute(_USE, {"digest": _digest(code), "purposes": list(purposes)})
    ).one_or_none()
    return (
        None
        if row is None
        else MailedCode(user_id=row.user_id, purpose=Purpose(row.purpose), email=row.email)
    )


async def withdraw_codes(connection: AsyncConnection, user_id: UUID, purposes: Collection[Purpose]) -> None:
    """Make a person's codes useless."""
    await connection.execute(_WITHDRAW, {"user_id": user_id, "purposes": list(purposes)})


async def prune_codes(connection: AsyncConnection) -> int:
    """Delete expired codes; gives how many those were."""
    return (await connection.execute(_PRUNE)).rowcount


def _digest(code: str) -> bytes:
    return sha256(code.encode(errors="replace")).digest()
