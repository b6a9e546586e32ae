"""What people do with their own account: see it, change it, take it along, delete it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from media_gateway.auth.audit import AuditEntry, Origin
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.services.mailed_links import NOTICE_LIFE_S, replace_password
from media_gateway.auth.services.registration import check_password
from media_gateway.auth.services.sign_out import SignOuts
from media_gateway.auth.store.admins import keep_an_admin
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.budgets import Budget
from media_gateway.auth.store.mailed_codes import Purpose, withdraw_codes
from media_gateway.auth.store.mails import MailKind, add_mail, withdraw_mails
from media_gateway.auth.store.profiles import (
    ProfileRow,
    empty_account,
    find_profile,
    kept_of,
    merge_profile,
    set_display_name,
    write_preferences,
)
from media_gateway.auth.store.users import (
    AccountRow,
    account_by_id,
    begin_sign_out,
    locked_account,
    set_pending_email,
)
from media_gateway.core.adapters.postgres import AsyncConnection, Database
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import (
    FieldError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
)
from media_gateway.core.outbox import enqueue_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something to the own account, and from where."""

    user_id: UUID
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileParts:
    """What `Profiles` works with.

    Attributes
    ----------
    tries : Budget
        Passwords that are asked for again, by person.
    verify_life_s : float
        How long a link that confirms an address works, in seconds.
    """

    database: Database
    passwords: Passwords
    sign_outs: SignOuts
    tries: Budget
    mails: Budget
    verify_life_s: float


class Profiles:
    """People's accounts, as they see them themselves. Every method raises NotFoundError for an account that is gone."""

    def __init__(self, parts: ProfileParts) -> None:
        self._parts = parts
        self._database = parts.database

    async def find(self, user_id: UUID) -> ProfileRow:
        """The account."""
        async with self._database.transaction() as connection:
            return await _profile(connection, user_id)

    async def change(
        self, actor: Actor, *, display_name: str | None, profile: Mapping[str, Any]
    ) -> ProfileRow:
        """Change the name, if one is given, and fields of the profile; a field of None is taken out."""
        async with self._database.transaction() as connection:
            await _account(connection, actor.user_id)
            if display_name is not None:
                await set_display_name(connection, actor.user_id, display_name)
            if profile:
                await merge_profile(connection, actor.user_id, profile)
            await add_entry(connection, entry_of("account.changed", actor))
            return await _profile(connection, actor.user_id)

    async def change_email(self, actor: Actor, email: str, password: str | None) -> None:
        """Mail a link to a new address, which becomes the account's once it is opened.

        Raises
        ------
        InvalidInputError, PermissionDeniedError, RateLimitedError
            The password is missing or wrong, or too many were; too many mails.
        """
        await self._check_password(actor.user_id, password)
        wait_ms = await self._parts.mails.take(str(actor.user_id))
        if wait_ms > 0:
            raise RateLimitedError("too many changes of the address; wait a while", retry_after_ms=wait_ms)
        async with self._database.transaction() as connection:
            account = await _account(connection, actor.user_id)
            await withdraw_codes(connection, actor.user_id, [Purpose.CHANGE_EMAIL])
            await withdraw_mails(connection, actor.user_id, account.email, [MailKind.CHANGE_EMAIL])
            await set_pending_email(connection, actor.user_id, email)
            life_s = self._parts.verify_life_s
            await add_mail(connection, MailKind.CHANGE_EMAIL, email, life_s=life_s, user_id=actor.user_id)
            await add_entry(connection, entry_of("account.email_change_asked", actor))

    async def set_preferences(
        self, user_id: UUID, values: Mapping[str, Any], *, whole: bool
    ) -> dict[str, Any]:
        """Replace the preferences, or change some; gives all."""
        async with self._database.transaction() as connection:
            await _account(connection, user_id)
            await write_preferences(connection, user_id, values, whole=whole)
            return (await _profile(connection, user_id)).preferences

    async def change_password(self, actor: Actor, current: str, new: str) -> bool:
        """Set a new password; all sessions and tokens end. False if they end a little later, since a server is away.

        Raises
        ------
        InvalidInputError, PermissionDeniedError, RateLimitedError
            The new password is too weak; the current one is wrong; too many were.
        """
        account = await self._check_password(actor.user_id, current, field="current")
        check_password(new, email=account.email, field="new")
        password_hash = await self._parts.passwords.hashed(new)
        async with self._database.transaction() as connection:
            now = await _account(connection, actor.user_id)
            if now.password_hash != account.password_hash:
                raise _wrong("current")
            signed_out_at = await replace_password(connection, now, password_hash)
            await add_entry(connection, entry_of("account.password_changed", actor))
        return await self._parts.sign_outs.finish(
            actor.user_id, signed_out_at, reason="the password was changed"
        )

    async def export(self, user_id: UUID) -> tuple[ProfileRow, dict[str, list[dict[str, Any]]]]:
        """Everything that is kept of a person, without hashes and secrets."""
        async with self._database.transaction() as connection:
            return await _profile(connection, user_id), await kept_of(connection, user_id)

    async def delete(self, actor: Actor, password: str) -> None:
        """Delete the account and everything of it; other components are told.

        Raises
        ------
        PermissionDeniedError, RateLimitedError, ConflictError
            The password is wrong, or too many were; nobody else is an admin.
        """
        await self._check_password(actor.user_id, password)
        async with self._database.transaction() as connection:
            await keep_an_admin(connection, actor.user_id)
            account = await _account(connection, actor.user_id)
            signed_out_at = await delete_account(connection, account, entry_of("account.deleted", actor))
        await self._parts.sign_outs.finish(actor.user_id, signed_out_at, reason="the account was deleted")

    async def _check_password(
        self, user_id: UUID, password: str | None, *, field: str = "password"
    ) -> AccountRow:
        if password is None:
            message = "required, to change the address"
            raise InvalidInputError(f"{field}: {message}", errors=[FieldError(field, message)])
        wait_ms = await self._parts.tries.take(str(user_id))
        if wait_ms > 0:
            raise RateLimitedError("too many tries; wait a while", retry_after_ms=wait_ms)
        async with self._database.transaction() as connection:
            account = await account_by_id(connection, user_id)
        if account is None:
            raise gone()
        if not await self._parts.passwords.matches(password, account.password_hash):
            raise _wrong(field)
        await self._parts.tries.clear(str(user_id))
        return account


async def delete_account(connection: AsyncConnection, account: AccountRow, entry: AuditEntry) -> datetime:
    """Empty a locked row and tell everybody; gives the beginning of the sign-out to finish."""
    user_id = account.user_id
    signed_out_at = await begin_sign_out(connection, user_id)
    await empty_account(connection, user_id, account.email)
    await add_mail(connection, MailKind.ACCOUNT_DELETED, account.email, life_s=NOTICE_LIFE_S)
    await add_entry(connection, entry)
    data = {"user_id": str(user_id)}
    event = Event(topic=Topic.USER, type="user.deleted", key=str(user_id), data=data, source="auth")
    await enqueue_events(connection, [event])
    return signed_out_at


def entry_of(action: str, actor: Actor, **details: Any) -> AuditEntry:
    """An entry about what a person did to the own account."""
    # The traces of somebody who leaves end before the last step.
    leaves = action == "account.deleted"
    return AuditEntry(
        action=action,
        resource_type="user",
        resource_id=str(actor.user_id),
        user_id=actor.user_id,
        source=None if leaves else actor.origin.source,
        user_agent=None if leaves else actor.origin.user_agent,
        details=details,
    )


def gone() -> NotFoundError:
    """The error for an account that is deleted or never was."""
    return NotFoundError("there is no such account")


def _wrong(field: str) -> PermissionDeniedError:
    message = "the password is not right"
    return PermissionDeniedError(f"{field}: {message}", errors=[FieldError(field, message)])


async def _account(connection: AsyncConnection, user_id: UUID) -> AccountRow:
    account = await locked_account(connection, user_id)
    if account is None:
        raise gone()
    return account


async def _profile(connection: AsyncConnection, user_id: UUID) -> ProfileRow:
    profile = await find_profile(connection, user_id)
    if profile is None:
        raise gone()
    return profile
