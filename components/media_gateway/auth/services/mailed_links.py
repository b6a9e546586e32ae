"""Links that are mailed: to confirm an address, and to set a new password. Who asks for one learns nothing from the answer."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from media_gateway.auth.audit import AuditEntry, Origin
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.services.registration import check_password
from media_gateway.auth.services.sign_out import SignOuts
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.budgets import Budget
from media_gateway.auth.store.mailed_codes import MailedCode, Purpose, find_code, use_code, withdraw_codes
from media_gateway.auth.store.mails import MailKind, add_mail, withdraw_mails
from media_gateway.auth.store.users import (
    AccountRow,
    account_by_id,
    begin_sign_out,
    locked_account,
    move_account,
    note_proven_address,
    set_password,
    set_pending_email,
)
from media_gateway.core.adapters.postgres import AsyncConnection, Database
from media_gateway.core.errors import ConflictError, FieldError, InvalidInputError

NOTICE_LIFE_S = 3 * 86_400.0
"""How long a notice is worth sending, in seconds."""

CONFIRMING = (Purpose.VERIFY_EMAIL, Purpose.CHANGE_EMAIL)
RESETTING = (Purpose.RESET_PASSWORD,)

LINKED = (MailKind.RESET_PASSWORD, MailKind.REGISTERED_AGAIN, MailKind.CHANGE_EMAIL)
"""Mails whose links a new password makes useless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkParts:
    """What `MailedLinks` works with; lives of links in seconds."""

    database: Database
    passwords: Passwords
    sign_outs: SignOuts
    forgotten: Budget
    resent: Budget
    verify_life_s: float
    reset_life_s: float


class MailedLinks:
    """Sends links and redeems them."""

    def __init__(self, parts: LinkParts) -> None:
        self._parts = parts
        self._database = parts.database

    async def resend_verification(self, email: str) -> None:
        """Mail another link that confirms an address, if it has an account whose address is not confirmed."""
        await self._ask(MailKind.VERIFY_EMAIL, email, self._parts.resent, self._parts.verify_life_s)

    async def forgot_password(self, email: str) -> None:
        """Mail a link that sets a new password, if the address has an account."""
        await self._ask(MailKind.RESET_PASSWORD, email, self._parts.forgotten, self._parts.reset_life_s)

    async def verify_email(self, code: str, origin: Origin) -> None:
        """Note that an address is its account's owner's.

        Raises
        ------
        InvalidInputError
            The code is none, or no longer good.
        """
        try:
            async with self._database.transaction() as connection:
                found = await use_code(connection, code, CONFIRMING)
                account = await locked_account(connection, found.user_id) if found else None
                if found is None or account is None:
                    raise not_good()
                if found.purpose is Purpose.CHANGE_EMAIL:
                    await _move(connection, account, found)
                else:
                    await note_proven_address(connection, account.user_id)
                await add_entry(connection, _entry("account.email_verified", account.user_id, origin))
        except ConflictError:
            # Somebody else has registered the address since.
            raise not_good() from None

    async def reset_password(self, code: str, password: str, origin: Origin) -> None:
        """Set a new password; all sessions and tokens end.

        Raises
        ------
        InvalidInputError
            The code is no longer good, or the password is too weak; then the code stays good.
        """
        async with self._database.transaction() as connection:
            found = await find_code(connection, code, RESETTING)
            account = await account_by_id(connection, found.user_id) if found else None
        if account is None:
            raise not_good()
        check_password(password, email=account.email)
        password_hash = await self._parts.passwords.hashed(password)
        async with self._database.transaction() as connection:
            used = await use_code(connection, code, RESETTING)
            account = await locked_account(connection, used.user_id) if used else None
            if account is None:
                raise not_good()
            # Whoever has the code reads the mails of the address.
            await note_proven_address(connection, account.user_id)
            signed_out_at = await replace_password(connection, account, password_hash)
            await add_entry(connection, _entry("account.password_reset", account.user_id, origin))
        await self._parts.sign_outs.finish(account.user_id, signed_out_at, reason="the password was set anew")

    async def _ask(self, kind: MailKind, email: str, budget: Budget, life_s: float) -> None:
        # Whether there is an account is looked up when the mail is sent: until then known and unknown are one.
        if await budget.take(email.lower()) > 0:
            return
        async with self._database.transaction() as connection:
            await add_mail(connection, kind, email, life_s=life_s)


async def replace_password(connection: AsyncConnection, account: AccountRow, password_hash: str) -> datetime:
    """Keep a new password, withdraw all links and tell the owner; gives the beginning of the sign-out to finish."""
    await set_password(connection, account.user_id, password_hash)
    await set_pending_email(connection, account.user_id, None)
    await withdraw_codes(connection, account.user_id, list(Purpose))
    await withdraw_mails(connection, account.user_id, account.email, LINKED)
    await add_mail(
        connection,
        MailKind.PASSWORD_CHANGED,
        account.email,
        life_s=NOTICE_LIFE_S,
        user_id=account.user_id,
    )
    return await begin_sign_out(connection, account.user_id)


def not_good() -> InvalidInputError:
    """The error for a link that is none, was used, is too old or was withdrawn: one and the same."""
    message = "this link is not good, or no longer: ask for a new one"
    return InvalidInputError(message, errors=[FieldError("token", message)])


async def _move(connection: AsyncConnection, account: AccountRow, found: MailedCode) -> None:
    if found.email is None or found.email != account.pending_email:
        raise not_good()
    # Mails to the old address must not open the account any more.
    await withdraw_codes(connection, account.user_id, list(Purpose))
    await withdraw_mails(connection, account.user_id, account.email, LINKED)
    await move_account(connection, account.user_id, found.email)
    await add_mail(
        connection, MailKind.EMAIL_CHANGED, account.email, life_s=NOTICE_LIFE_S, user_id=account.user_id
    )


def _entry(action: str, user_id: UUID, origin: Origin) -> AuditEntry:
    return AuditEntry(
        action=action,
        resource_type="user",
        resource_id=str(user_id),
        user_id=user_id,
        source=origin.source,
        user_agent=origin.user_agent,
    )
