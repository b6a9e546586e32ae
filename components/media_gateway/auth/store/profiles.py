"""People's own settings, their parental limits, and the end of an account. Every function works in the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from media_gateway.core.adapters.postgres import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """What a person sees of the account."""

    user_id: UUID
    email: str
    email_verified: bool
    pending_email: str | None
    display_name: str
    tier: str
    roles: list[str]
    profile: dict[str, Any]
    preferences: dict[str, Any]
    content_rating_limit: str | None
    blocked_genres: list[str]
    has_pin: bool
    locked_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsRow:
    """Parental limits, and the hash of the PIN that guards them."""

    content_rating_limit: str | None
    blocked_genres: Sequence[str]
    pin_hash: str | None


_COLUMNS = (
    "id AS user_id, email, email_verified_at IS NOT NULL AS email_verified, pending_email, display_name, tier, roles, "
    "profile, preferences, content_rating_limit, blocked_genres, pin_hash IS NOT NULL AS has_pin, locked_at, "
    "created_at, updated_at"
)
_FIND = sa.text(f"SELECT {_COLUMNS} FROM users WHERE id = :user_id AND deleted_at IS NULL")  # noqa: S608
_PAGE = sa.text(
    f"SELECT {_COLUMNS} FROM users WHERE deleted_at IS NULL "  # noqa: S608
    "AND (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid)) "
    "AND starts_with(lower(email), lower(:prefix)) "
    "AND (CAST(:locked AS boolean) IS NULL OR (locked_at IS NOT NULL) = CAST(:locked AS boolean)) "
    "ORDER BY id DESC LIMIT :limit"
)
_SET_NAME = sa.text("UPDATE users SET display_name = :value, updated_at = now() WHERE id = :user_id")
_MERGE_PROFILE = sa.text(
    "UPDATE users SET profile = jsonb_strip_nulls(profile || CAST(:value AS jsonb)), updated_at = now() WHERE id = :user_id"
)
_SET_PREFERENCES = sa.text(
    "UPDATE users SET preferences = CAST(:value AS jsonb), updated_at = now() WHERE id = :user_id"
)
_MERGE_PREFERENCES = sa.text(
    "UPDATE users SET preferences = preferences || CAST(:value AS jsonb), updated_at = now() WHERE id = :user_id"
)
_LIMITS = sa.text(
    "SELECT content_rating_limit, blocked_genres, pin_hash FROM users WHERE id = :user_id AND deleted_at IS NULL"
)
_SET_LIMITS = sa.text(
    "UPDATE users SET content_rating_limit = :content_rating_limit, blocked_genres = :blocked_genres, "
    "pin_hash = :pin_hash, updated_at = now() WHERE id = :user_id AND pin_hash IS NOT DISTINCT FROM CAST(:seen AS text)"
).bindparams(sa.bindparam("blocked_genres", type_=ARRAY(sa.Text())))
_EMPTY = sa.text(
    "UPDATE users SET email = NULL, password_hash = NULL, display_name = '', email_verified_at = NULL, "
    "pending_email = NULL, locked_at = NULL, roles = '{}', profile = '{}', preferences = '{}', pin_hash = NULL, "
    "content_rating_limit = NULL, blocked_genres = '{}', updated_at = now(), deleted_at = now() WHERE id = :user_id"
)
_BELONGINGS = (
    sa.text("DELETE FROM second_factors WHERE user_id = :user_id"),
    sa.text("DELETE FROM backup_codes WHERE user_id = :user_id"),
    sa.text("DELETE FROM api_keys WHERE user_id = :user_id"),
    sa.text("DELETE FROM oauth_identities WHERE user_id = :user_id"),
    sa.text("DELETE FROM authorization_codes WHERE user_id = :user_id"),
    sa.text("DELETE FROM mailed_codes WHERE user_id = :user_id"),
    # That somebody did something stays, until retention takes it; who it was does not.
    sa.text(
        "UPDATE audit_logs SET source = NULL, user_agent = NULL, details = '{}' "
        "WHERE user_id = :user_id OR (resource_type = 'user' AND resource_id = CAST(:user_id AS text))"
    ),
)
_MAILS = sa.text("DELETE FROM mails WHERE user_id = :user_id OR lower(recipient) = lower(:email)")
_KEPT = {
    "second_factor": sa.text("SELECT confirmed_at FROM second_factors WHERE user_id = :user_id"),
    "backup_codes": sa.text("SELECT used_at FROM backup_codes WHERE user_id = :user_id"),
    "api_keys": sa.text(
        "SELECT id, name, scopes, created_at, last_used_at, expires_at, revoked_at FROM api_keys WHERE user_id = :user_id"
    ),
    "identities": sa.text(
        "SELECT provider, provider_user_id, email, created_at, used_at FROM oauth_identities WHERE user_id = :user_id"
    ),
    "mailed_links": sa.text("SELECT purpose, email, expires_at FROM mailed_codes WHERE user_id = :user_id"),
    "grants": sa.text(
        "SELECT client_id, scopes, resource, signed_in_at, created_at, used_at, expires_at, revoked_at, revoked_reason "
        "FROM oauth_grants WHERE user_id = :user_id ORDER BY id"
    ),
    "audit_log": sa.text(
        "SELECT timestamp, action, resource_type, resource_id, details, source, user_agent FROM audit_logs "
        "WHERE user_id = :user_id ORDER BY id"
    ),
}


async def find_profile(connection: AsyncConnection, user_id: UUID) -> ProfileRow | None:
    """What a person sees of the account; None if there is none or it is deleted."""
    row = (await connection.execute(_FIND, {"user_id": user_id})).one_or_none()
    return None if row is None else ProfileRow(**row._asdict())


async def page_of_profiles(
    connection: AsyncConnection, *, before: UUID | None, prefix: str, locked: bool | None, limit: int
) -> list[ProfileRow]:
    """Accounts, newest first."""
    values = {"before": before, "prefix": prefix, "locked": locked, "limit": limit}
    return [ProfileRow(**row._asdict()) for row in await connection.execute(_PAGE, values)]


async def set_display_name(connection: AsyncConnection, user_id: UUID, name: str) -> None:
    """Change the name."""
    await connection.execute(_SET_NAME, {"user_id": user_id, "value": name})


async def merge_profile(connection: AsyncConnection, user_id: UUID, values: Mapping[str, Any]) -> None:
    """Change fields of the profile; None takes one out."""
    await connection.execute(_MERGE_PROFILE, {"user_id": user_id, "value": orjson.dumps(values).decode()})


async def write_preferences(
    connection: AsyncConnection, user_id: UUID, values: Mapping[str, Any], *, whole: bool
) -> None:
    """Replace the preferences, or change some of them."""
    statement = _SET_PREFERENCES if whole else _MERGE_PREFERENCES
    await connection.execute(statement, {"user_id": user_id, "value": orjson.dumps(values).decode()})


async def find_limits(connection: AsyncConnection, user_id: UUID) -> LimitsRow | None:
    """The parental limits of an account."""
    row = (await connection.execute(_LIMITS, {"user_id": user_id})).one_or_none()
    return None if row is None else LimitsRow(**row._asdict())


async def set_limits(
    connection: AsyncConnection, user_id: UUID, limits: LimitsRow, *, seen: str | None
) -> bool:
    """Change parental limits and PIN; False if the PIN's hash is no longer the one that was seen."""
    values = {
        "content_rating_limit": limits.content_rating_limit,
        "blocked_genres": list(limits.blocked_genres),
        "pin_hash": limits.pin_hash,
    }
    result = await connection.execute(_SET_LIMITS, {"user_id": user_id, "seen": seen, **values})
    return result.rowcount == 1


async def kept_of(connection: AsyncConnection, user_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Everything kept of a person beside the profile, without hashes and secrets."""
    return {
        name: [row._asdict() for row in await connection.execute(statement, {"user_id": user_id})]
        for name, statement in _KEPT.items()
    }


async def empty_account(connection: AsyncConnection, user_id: UUID, email: str) -> None:
    """Take everything that tells of a person out of the tables; the id stays, as that of nobody."""
    for statement in _BELONGINGS:
        await connection.execute(statement, {"user_id": user_id})
    await connection.execute(_MAILS, {"user_id": user_id, "email": email})
    await connection.execute(_EMPTY, {"user_id": user_id})
