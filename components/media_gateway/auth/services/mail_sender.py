"""Sends the mails that wait, so that no request waits for a mail server and no mail is lost with one."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog
from prometheus_client import Counter

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.mail import Mail, MailRefusedError, MailServer
from media_gateway.auth.mail.texts import ADDRESS_TAKEN, Text, text_of
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.mailed_codes import Purpose, add_code
from media_gateway.auth.store.mails import MailKind, WaitingMail, claim_mail, drop_mail, retry_mail
from media_gateway.auth.store.users import AccountRow, account_by_email, account_by_id
from media_gateway.core.adapters.postgres import AsyncConnection, Database
from media_gateway.core.errors import MediaGatewayError

LEASE_S = 180.0
"""How long a sender has for a mail, in seconds: longer than a server takes to fail."""

SENDING_S = 120.0
MAX_ATTEMPTS = 10
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3_600.0

_log = structlog.get_logger(__name__)
_mails = Counter("mgw_mails_total", "Mails by what became of them", ["kind", "outcome"])

_PURPOSES = {
    MailKind.VERIFY_EMAIL: Purpose.VERIFY_EMAIL,
    MailKind.CHANGE_EMAIL: Purpose.CHANGE_EMAIL,
    MailKind.RESET_PASSWORD: Purpose.RESET_PASSWORD,
    MailKind.REGISTERED_AGAIN: Purpose.RESET_PASSWORD,
}
NOTICES = frozenset(MailKind) - frozenset(_PURPOSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRules:
    """How mails are sent.

    Attributes
    ----------
    verify_life_s, reset_life_s : float
        How long links work, in seconds.
    first_pause_s : float
        Before a mail that failed is sent again, in seconds; doubled with every failure.
    poll_s : float
        Longest a new mail waits to be seen, in seconds.
    """

    public_url: str
    verify_life_s: float
    reset_life_s: float
    first_pause_s: float = FIRST_PAUSE_S
    poll_s: float = 1.0


class MailSender:
    """Sends one mail after the other. Any number may run."""

    def __init__(self, database: Database, server: MailServer, rules: SendingRules) -> None:
        self._database = database
        self._server = server
        self._rules = rules

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            if not await self.send_next():
                await asyncio.sleep(self._rules.poll_s)

    async def send_next(self) -> bool:
        """Send the mail that has waited longest; False if none waits."""
        async with self._database.transaction() as connection:
            waiting = await claim_mail(connection, lease_s=LEASE_S)
            if waiting is None:
                return False
            mail = None if waiting.is_late else await self._written(connection, waiting)
            if mail is None:
                await self._end(connection, waiting, "too late" if waiting.is_late else None)
                return True
        try:
            async with asyncio.timeout(SENDING_S):
                await self._server.send(mail)
        except MailRefusedError as error:
            async with self._database.transaction() as connection:
                await self._end(connection, waiting, error.message)
        except (MediaGatewayError, TimeoutError) as error:
            await self._put_off(
                waiting, error.message if isinstance(error, MediaGatewayError) else "too slow"
            )
        else:
            _mails.labels(waiting.kind, "sent").inc()
            async with self._database.transaction() as connection:
                await drop_mail(connection, waiting.mail_id)
        return True

    async def _put_off(self, waiting: WaitingMail, problem: str) -> None:
        async with self._database.transaction() as connection:
            if waiting.attempts >= MAX_ATTEMPTS:
                await self._end(connection, waiting, problem)
                return
            pause_s = min(self._rules.first_pause_s * 2.0 ** (waiting.attempts - 1), LONGEST_PAUSE_S)
            await retry_mail(connection, waiting.mail_id, after_s=pause_s)
        _mails.labels(waiting.kind, "put_off").inc()
        _log.warning("a mail could not be sent yet", kind=waiting.kind, problem=problem, retry_in_s=pause_s)

    async def _end(self, connection: AsyncConnection, waiting: WaitingMail, problem: str | None) -> None:
        """Forget a mail that is not sent: quietly if there is nobody to send it to."""
        await drop_mail(connection, waiting.mail_id)
        if problem is None:
            return
        _mails.labels(waiting.kind, "given_up").inc()
        _log.warning("a mail was given up", kind=waiting.kind, problem=problem)
        entry = AuditEntry(
            action="mail.given_up",
            resource_type="mail",
            resource_id=str(waiting.mail_id),
            user_id=waiting.user_id,
            details={"kind": waiting.kind, "problem": problem, "attempts": waiting.attempts},
        )
        await add_entry(connection, entry)

    async def _written(self, connection: AsyncConnection, waiting: WaitingMail) -> Mail | None:
        """The mail, with a code of its own; None if nobody is to get one."""
        if waiting.kind in NOTICES:
            text = text_of(waiting.kind, public_url=self._rules.public_url)
            return _mail(waiting, waiting.recipient, text)
        owner = await account_by_email(connection, waiting.recipient)
        if waiting.kind is MailKind.CHANGE_EMAIL:
            return await self._change(connection, waiting, owner)
        if owner is None or (waiting.kind is MailKind.VERIFY_EMAIL and owner.email_verified):
            return None
        text = await self._linked(connection, waiting.kind, owner.user_id)
        # To the address that is kept, not to the one that was typed.
        return _mail(waiting, owner.email, text)

    async def _change(
        self, connection: AsyncConnection, waiting: WaitingMail, owner: AccountRow | None
    ) -> Mail | None:
        mover = await account_by_id(connection, waiting.user_id) if waiting.user_id else None
        if mover is None or mover.pending_email != waiting.recipient:
            return None
        if owner is not None and owner.user_id != mover.user_id:
            return _mail(waiting, owner.email, ADDRESS_TAKEN)
        text = await self._linked(connection, waiting.kind, mover.user_id, waiting.recipient)
        return _mail(waiting, waiting.recipient, text)

    async def _linked(
        self, connection: AsyncConnection, kind: MailKind, user_id: UUID, email: str | None = None
    ) -> Text:
        purpose, rules = _PURPOSES[kind], self._rules
        life_s = rules.reset_life_s if purpose is Purpose.RESET_PASSWORD else rules.verify_life_s
        code = await add_code(connection, user_id, purpose, life_s=life_s, email=email)
        return text_of(kind, public_url=rules.public_url, code=code, life_s=life_s)


def _mail(waiting: WaitingMail, recipient: str, text: Text) -> Mail:
    return Mail(
        mail_id=waiting.mail_id,
        recipient=recipient,
        subject=text.subject,
        text=text.body,
        created_at=waiting.created_at,
    )
