"""What admins do with other people's accounts. Every act is written down."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from media_gateway.auth.audit import AuditEntry, Origin
from media_gateway.auth.services.profiles import delete_account, gone
from media_gateway.auth.services.sign_out import SignOuts
from media_gateway.auth.store.admins import clear_pin, keep_an_admin, set_locked, set_roles, set_tier
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.profiles import ProfileRow, find_profile, page_of_profiles
from media_gateway.auth.store.users import begin_sign_out, locked_account
from media_gateway.core.adapters.postgres import AsyncConnection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Who acts; ``user_id`` is None for a token that is no person's."""

    subject: str
    user_id: UUID | None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """What to change; None leaves it."""

    locked: bool | None = None
    tier: str | None = None
    roles: tuple[str, ...] | None = None
    clear_pin: bool = False


class Administration:
    """Other people's accounts. Every method raises NotFoundError for an account that is gone."""

    def __init__(self, database: Database, sign_outs: SignOuts) -> None:
        self._database = database
        self._sign_outs = sign_outs

    async def page(
        self, *, before: UUID | None, prefix: str, locked: bool | None, limit: int
    ) -> list[ProfileRow]:
        """Accounts, newest first."""
        async with self._database.transaction() as connection:
            return await page_of_profiles(
                connection, before=before, prefix=prefix, locked=locked, limit=limit
            )

    async def find(self, user_id: UUID) -> ProfileRow:
        """An account."""
        async with self._database.transaction() as connection:
            return await _profile(connection, user_id)

    async def change(self, admin: Admin, user_id: UUID, change: AccountChange) -> ProfileRow:
        """Change an account. Locking it, and taking a role away, end its sessions and tokens.

        Raises
        ------
        ConflictError
            It is the last admin, and would be none any more.
        """
        async with self._database.transaction() as connection:
            if change.locked is True or (change.roles is not None and "admin" not in change.roles):
                await keep_an_admin(connection, user_id)
            before = await _locked_profile(connection, user_id)
            await _apply(connection, before, change)
            lost = change.roles is not None and not set(before.roles) <= set(change.roles)
            ends = change.locked is True or lost
            signed_out_at = await begin_sign_out(connection, user_id) if ends else None
            after = await _profile(connection, user_id)
            await add_entry(connection, _entry("account.administered", admin, user_id, _told(before, after)))
        if signed_out_at is not None:
            await self._sign_outs.finish(user_id, signed_out_at, reason="an admin changed the account")
        return after

    async def delete(self, admin: Admin, user_id: UUID) -> None:
        """Delete an account and everything of it.

        Raises
        ------
        ConflictError
            It is the last admin.
        """
        async with self._database.transaction() as connection:
            await keep_an_admin(connection, user_id)
            account = await locked_account(connection, user_id)
            if account is None:
                raise gone()
            entry = _entry("account.deleted", admin, user_id, {})
            signed_out_at = await delete_account(connection, account, entry)
        await self._sign_outs.finish(user_id, signed_out_at, reason="an admin deleted the account")


async def _apply(connection: AsyncConnection, before: ProfileRow, change: AccountChange) -> None:
    user_id = before.user_id
    if change.locked is not None:
        await set_locked(connection, user_id, locked=change.locked)
    if change.tier is not None:
        await set_tier(connection, user_id, change.tier)
    if change.roles is not None:
        await set_roles(connection, user_id, change.roles)
    if change.clear_pin:
        await clear_pin(connection, user_id)


def _told(before: ProfileRow, after: ProfileRow) -> dict[str, Any]:
    def state(row: ProfileRow) -> dict[str, Any]:
        return {
            "locked": row.locked_at is not None,
            "tier": row.tier,
            "roles": row.roles,
            "has_pin": row.has_pin,
        }

    old, new = state(before), state(after)
    return {name: {"from": old[name], "to": new[name]} for name in old if old[name] != new[name]}


def _entry(action: str, admin: Admin, user_id: UUID, details: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        action=action,
        resource_type="user",
        resource_id=str(user_id),
        user_id=admin.user_id,
        source=admin.origin.source,
        user_agent=admin.origin.user_agent,
        details={"by": admin.subject, **details},
    )


async def _locked_profile(connection: AsyncConnection, user_id: UUID) -> ProfileRow:
    if await locked_account(connection, user_id) is None:
        raise gone()
    return await _profile(connection, user_id)


async def _profile(connection: AsyncConnection, user_id: UUID) -> ProfileRow:
    found = await find_profile(connection, user_id)
    if found is None:
        raise gone()
    return found
