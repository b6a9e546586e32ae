"""What a mail is, and what sends it."""

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import ClassVar, Protocol
from uuid import UUID

from media_gateway.auth.emails import is_email
from media_gateway.core.errors import MediaGatewayError


class MailRefusedError(MediaGatewayError):
    """A mail that will not be taken however often it is sent. The message names no address."""

    code: ClassVar[str] = "upstream_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail to one person, in plain text.

    Attributes
    ----------
    mail_id : UUID
        The same when it is sent again, so that whoever gets it twice can tell.
    """

    mail_id: UUID
    recipient: str
    subject: str
    text: str
    created_at: datetime

    def message(self, sender: str) -> EmailMessage:
        """The mail as RFC 5322 has it.

        Raises
        ------
        MailRefusedError
            The recipient is no address: nothing else gets into a header.
        """
        if not is_email(self.recipient):
            raise MailRefusedError("the recipient is no address")
        name, address = parseaddr(sender)
        message = EmailMessage(policy=SMTP)
        message["From"] = Address(display_name=name, addr_spec=address)
        message["To"] = Address(addr_spec=self.recipient)
        message["Subject"] = self.subject
        message["Date"] = format_datetime(self.created_at)
        message["Message-ID"] = f"<{self.mail_id}@{address.rpartition('@')[2]}>"
        # RFC 3834: no answering machine should answer.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        return message


class MailServer(Protocol):
    """Takes mails to their recipients."""

    async def send(self, mail: Mail) -> None:
        """Return once the mail is taken.

        Raises
        ------
        UnavailableError
            Not now.
        MailRefusedError
            Never.
        """
