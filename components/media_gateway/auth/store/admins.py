"""What only admins do to accounts, in the caller's transaction."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from media_gateway.core.adapters.postgres import AsyncConnection
from media_gateway.core.errors import ConflictError

# Locked in one order, so that two admins who take the role from each other wait, and the second finds one left.
_ADMINS = sa.text(
    "SELECT id FROM users WHERE 'admin' = ANY(roles) AND locked_at IS NULL AND deleted_at IS NULL ORDER BY id FOR UPDATE"
)
_LOCK = sa.text(
    "UPDATE users SET locked_at = CASE WHEN :locked THEN coalesce(locked_at, now()) END, updated_at = now() "
    "WHERE id = :user_id"
)
_SET_TIER = sa.text("UPDATE users SET tier = :tier, updated_at = now() WHERE id = :user_id")
_SET_ROLES = sa.text("UPDATE users SET roles = :roles, updated_at = now() WHERE id = :user_id").bindparams(
    sa.bindparam("roles", type_=ARRAY(sa.Text()))
)
_CLEAR_PIN = sa.text("UPDATE users SET pin_hash = NULL, updated_at = now() WHERE id = :user_id")
_CONFIRM = sa.text("UPDATE users SET email_verified_at = now() WHERE id = :user_id")


async def keep_an_admin(connection: AsyncConnection, user_id: UUID) -> None:
    """Let somebody stop being an admin only if another one is left. Called before the transaction locks any other row.

    Raises
    ------
    ConflictError
        It is the last one.
    """
    if list((await connection.execute(_ADMINS)).scalars()) == [user_id]:
        raise ConflictError("this is the last admin: make somebody else one first")


async def set_locked(connection: AsyncConnection, user_id: UUID, *, locked: bool) -> None:
    """Lock or unlock an account."""
    await connection.execute(_LOCK, {"user_id": user_id, "locked": locked})


async def set_tier(connection: AsyncConnection, user_id: UUID, tier: str) -> None:
    """Change the subscription tier."""
    await connection.execute(_SET_TIER, {"user_id": user_id, "tier": tier})


async def set_roles(connection: AsyncConnection, user_id: UUID, roles: Sequence[str]) -> None:
    """Change the roles."""
    await connection.execute(_SET_ROLES, {"user_id": user_id, "roles": list(roles)})


async def clear_pin(connection: AsyncConnection, user_id: UUID) -> None:
    """Take a forgotten PIN away; the limits stay."""
    await connection.execute(_CLEAR_PIN, {"user_id": user_id})


async def confirm_address(connection: AsyncConnection, user_id: UUID) -> None:
    """An operator vouches for the address."""
    await connection.execute(_CONFIRM, {"user_id": user_id})
