"""New accounts. Who registers learns nothing from the answer; what became of it stands in a mail to the address."""

from dataclasses import dataclass
from uuid import UUID

from media_gateway.auth.audit import AuditEntry, Origin
from media_gateway.auth.passwords import Passwords, faults_of
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.budgets import Budget
from media_gateway.auth.store.mails import MailKind, add_mail
from media_gateway.auth.store.users import add_account
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import FieldError, InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """What somebody registers with."""

    email: str
    password: str
    display_name: str
    origin: Origin


class Registration:
    """Makes accounts.

    Parameters
    ----------
    mails
        Mails about repeated registrations, by address.
    mail_life_s
        How long a link that confirms an address works, in seconds.
    """

    def __init__(
        self, database: Database, passwords: Passwords, mails: Budget, *, mail_life_s: float
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._mails = mails
        self._mail_life_s = mail_life_s

    async def register(self, new: NewAccount) -> None:
        """Make an account and mail a link that confirms the address, or tell whoever has the address's account.

        Raises
        ------
        InvalidInputError
            The password is too weak.
        """
        check_password(new.password, email=new.email)
        password_hash = await self._passwords.hashed(new.password)
        may_mail = await self._mails.take(new.email.lower()) == 0
        async with self._database.transaction() as connection:
            user_id, email, is_new = await add_account(
                connection, email=new.email, password_hash=password_hash, display_name=new.display_name
            )
            if is_new or may_mail:
                kind = MailKind.VERIFY_EMAIL if is_new else MailKind.REGISTERED_AGAIN
                await add_mail(connection, kind, email, life_s=self._mail_life_s, user_id=user_id)
            action = "account.registered" if is_new else "account.registered_again"
            await add_entry(connection, _entry(action, user_id, new.origin))


def check_password(password: str, *, email: str, field: str = "password") -> None:
    """Let a new password through.

    Raises
    ------
    InvalidInputError
        It is too weak; every fault is named.
    """
    faults = [FieldError(field, fault) for fault in faults_of(password, email=email)]
    if faults:
        raise InvalidInputError(f"{field}: {faults[0].message}", errors=faults)


def _entry(action: str, user_id: UUID, origin: Origin) -> AuditEntry:
    return AuditEntry(
        action=action,
        resource_type="user",
        resource_id=str(user_id),
        user_id=user_id,
        source=origin.source,
        user_agent=origin.user_agent,
    )
