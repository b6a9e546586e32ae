"""Grants, refresh tokens and authorization codes in Postgres. Every change of their state is one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from media_gateway.auth.granting import Grant
from media_gateway.core.adapters.postgres import AsyncConnection

_ADD_CODE = sa.text(
    "INSERT INTO authorization_codes (digest, grant_id, client_id, user_id, redirect_uri, challenge, scopes, resource, nonce, "
    "signed_in_at, expires_at) VALUES (:digest, :grant_id, :client_id, :user_id, :redirect_uri, :challenge, :scopes, "
    ":resource, :nonce, :signed_in_at, now() + make_interval(secs => :life_s))"
)
_CODE = sa.text(
    "SELECT grant_id, client_id, user_id, redirect_uri, challenge, scopes, resource, nonce, signed_in_at, "
    "expires_at <= now() AS is_expired, redeemed_at IS NOT NULL AS is_redeemed "
    "FROM authorization_codes WHERE digest = :digest FOR UPDATE"
)
_REDEEM = sa.text("UPDATE authorization_codes SET redeemed_at = now() WHERE digest = :digest")

# A device's poll may make tokens twice for one grant: its first answer can get lost on the way out.
_OPEN = sa.text(
    "INSERT INTO oauth_grants (id, client_id, user_id, scopes, resource, nonce, signed_in_at, expires_at) "
    "VALUES (:id, :client_id, :user_id, :scopes, :resource, :nonce, :signed_in_at, now() + make_interval(secs => :life_s)) "
    "ON CONFLICT (id) DO UPDATE SET used_at = now() RETURNING revoked_at IS NOT NULL AS is_revoked"
)
_ADD_REFRESH = sa.text(
    "INSERT INTO refresh_tokens (digest, grant_id, expires_at) "
    "VALUES (:digest, :grant_id, now() + make_interval(secs => :life_s))"
)
_REFRESH = sa.text(
    "SELECT t.grant_id, t.expires_at <= now() AS is_expired, t.expires_at, t.created_at, "
    "extract(epoch FROM clock_timestamp() - t.spent_at)::float AS spent_s, t.successor, "
    "g.client_id, g.user_id, g.scopes, g.resource, g.nonce, g.signed_in_at, g.revoked_at IS NOT NULL AS is_revoked "
    "FROM refresh_tokens t JOIN oauth_grants g ON g.id = t.grant_id WHERE t.digest = :digest"
)
_REFRESH_LOCKED = sa.text(_REFRESH.text + " FOR UPDATE OF t")
# By the clock, not by the beginning of the transaction: one that waited for the token began before it was spent.
# One statement, as this is what tokens are asked for most.
_ROTATE = sa.text(
    "WITH spent AS (UPDATE refresh_tokens SET spent_at = clock_timestamp(), successor = :sealed WHERE digest = :digest), "
    "used AS (UPDATE oauth_grants SET used_at = now(), "
    "expires_at = greatest(expires_at, now() + make_interval(secs => :life_s)) WHERE id = :grant_id) "
    "INSERT INTO refresh_tokens (digest, grant_id, expires_at) "
    "VALUES (:successor, :grant_id, now() + make_interval(secs => :life_s))"
)
_REVOKE = sa.text(
    "UPDATE oauth_grants SET revoked_at = now(), revoked_reason = :reason WHERE id = :id AND revoked_at IS NULL "
    "RETURNING client_id, user_id"
)
_REVOKE_ALL = sa.text(
    "UPDATE oauth_grants SET revoked_at = now(), revoked_reason = :reason "
    "WHERE user_id = :user_id AND revoked_at IS NULL RETURNING id"
)
_REVOKE_CLIENT = sa.text(
    "UPDATE oauth_grants SET revoked_at = now(), revoked_reason = 'the client was removed' "
    "WHERE client_id = :client_id AND revoked_at IS NULL"
)
_DROP_CODES = sa.text("DELETE FROM authorization_codes WHERE client_id = :client_id")
_IS_LIVE = sa.text("SELECT revoked_at IS NULL FROM oauth_grants WHERE id = :id")
_PRUNE_CODES = sa.text(
    "DELETE FROM authorization_codes WHERE expires_at < now() - make_interval(secs => :kept_s)"
)
_PRUNE_GRANTS = sa.text("DELETE FROM oauth_grants WHERE expires_at < now() - make_interval(secs => :kept_s)")
_PRUNE_SPENT = sa.text("DELETE FROM refresh_tokens WHERE expires_at < now() - make_interval(secs => :kept_s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCode:
    """An authorization code to keep.

    Attributes
    ----------
    digest : bytes
        SHA-256 of the code.
    challenge : str
        S256 challenge of the program (RFC 7636 section 4.2).
    life_s : float
        In seconds.
    """

    digest: bytes
    grant_id: UUID
    client_id: str
    user_id: UUID
    redirect_uri: str
    challenge: str
    scopes: frozenset[str]
    resource: str | None
    nonce: str | None
    signed_in_at: float | None
    life_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCode:
    """An authorization code as it was kept; fields as in `NewCode`."""

    grant_id: UUID
    client_id: str
    user_id: UUID
    redirect_uri: str
    challenge: str
    scopes: frozenset[str]
    resource: str | None
    nonce: str | None
    signed_in_at: float | None
    is_expired: bool
    is_redeemed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRefresh:
    """A refresh token with its grant.

    Attributes
    ----------
    spent_s : float | None
        Seconds since it was used; None if it was not.
    successor : bytes | None
        The token that took its place, encrypted.
    created_at, expires_at, signed_in_at : float
        Unix time in seconds.
    """

    grant_id: UUID
    client_id: str
    user_id: UUID
    scopes: frozenset[str]
    resource: str | None
    nonce: str | None
    signed_in_at: float | None
    created_at: float
    expires_at: float
    is_expired: bool
    is_revoked: bool
    spent_s: float | None
    successor: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The use of a refresh token.

    Attributes
    ----------
    digest, successor : bytes
        SHA-256 of the used token and of the new one.
    sealed : bytes
        The new one, encrypted for who holds the used one.
    life_s : float
        Of the new one, in seconds; the grant lives as long at least.
    """

    grant_id: UUID
    digest: bytes
    successor: bytes
    sealed: bytes
    life_s: float


async def add_code(connection: AsyncConnection, code: NewCode) -> None:
    """Keep a code."""
    await connection.execute(
        _ADD_CODE,
        {
            "digest": code.digest,
            "grant_id": code.grant_id,
            "client_id": code.client_id,
            "user_id": code.user_id,
            "redirect_uri": code.redirect_uri,
            "challenge": code.challenge,
            "scopes": sorted(code.scopes),
            "resource": code.resource,
            "nonce": code.nonce,
            "signed_in_at": _moment(code.signed_in_at),
            "life_s": code.life_s,
        },
    )


async def lock_code(connection: AsyncConnection, digest: bytes) -> KeptCode | None:
    """A code, which no other transaction changes until this one ends."""
    row = (await connection.execute(_CODE, {"digest": digest})).mappings().one_or_none()
    return None if row is None else KeptCode(**_values(row))


async def redeem_code(connection: AsyncConnection, digest: bytes) -> None:
    """The code is used up."""
    await connection.execute(_REDEEM, {"digest": digest})


async def open_grant(connection: AsyncConnection, grant: Grant, *, life_s: float) -> bool:
    """Keep a grant, or go on with it; False if it has been revoked."""
    values = {
        "id": grant.grant_id,
        "client_id": grant.client_id,
        "user_id": grant.subject.user_id,
        "scopes": sorted(grant.scopes),
        "resource": grant.resource,
        "nonce": grant.nonce,
        "signed_in_at": _moment(grant.signed_in_at),
        "life_s": life_s,
    }
    return not (await connection.execute(_OPEN, values)).scalar_one()


async def add_refresh(connection: AsyncConnection, grant_id: UUID, digest: bytes, *, life_s: float) -> None:
    """Keep a refresh token of a grant."""
    await connection.execute(_ADD_REFRESH, {"digest": digest, "grant_id": grant_id, "life_s": life_s})


async def find_refresh(connection: AsyncConnection, digest: bytes, *, lock: bool) -> KeptRefresh | None:
    """A refresh token; locked, no other transaction uses it until this one ends."""
    statement = _REFRESH_LOCKED if lock else _REFRESH
    row = (await connection.execute(statement, {"digest": digest})).mappings().one_or_none()
    if row is None:
        return None
    values = _values(row)
    moments = {name: values[name].timestamp() for name in ("created_at", "expires_at")}
    return KeptRefresh(**{**values, **moments})


async def rotate_refresh(connection: AsyncConnection, rotation: Rotation) -> None:
    """A refresh token is used up, another takes its place, and their grant goes on."""
    # Not `asdict`, which copies every value in depth.
    values = {field.name: getattr(rotation, field.name) for field in fields(rotation)}
    await connection.execute(_ROTATE, values)


async def revoke_grant(connection: AsyncConnection, grant_id: UUID, *, reason: str) -> bool:
    """End a grant; False if there is none or it has ended."""
    return (await connection.execute(_REVOKE, {"id": grant_id, "reason": reason})).one_or_none() is not None


async def revoke_grants(connection: AsyncConnection, user_id: UUID, *, reason: str) -> list[UUID]:
    """End every grant of a person; gives those that lived."""
    rows = await connection.execute(_REVOKE_ALL, {"user_id": user_id, "reason": reason})
    return list(rows.scalars())


async def end_client(connection: AsyncConnection, client_id: str) -> None:
    """End every grant and code of a program."""
    for statement in (_REVOKE_CLIENT, _DROP_CODES):
        await connection.execute(statement, {"client_id": client_id})


async def is_live(connection: AsyncConnection, grant_id: UUID) -> bool:
    """Whether a grant was not ended; False for one that is not kept any more, as those of a deleted account."""
    return bool((await connection.execute(_IS_LIVE, {"id": grant_id})).scalar_one_or_none())


async def prune(connection: AsyncConnection, *, kept_s: float) -> None:
    """Delete codes, grants and refresh tokens that expired so many seconds ago."""
    for statement in (_PRUNE_CODES, _PRUNE_SPENT, _PRUNE_GRANTS):
        await connection.execute(statement, {"kept_s": kept_s})


def _values(row: Mapping[Any, Any]) -> dict[str, Any]:
    values = dict(row)
    values["scopes"] = frozenset(values["scopes"])
    if values["signed_in_at"] is not None:
        values["signed_in_at"] = values["signed_in_at"].timestamp()
    return values


def _moment(unix_s: float | None) -> datetime | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC)
