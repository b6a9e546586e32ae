"""Mails by SMTP (RFC 5321) with aiosmtplib, a connection a mail: there are few, and servers drop idle ones."""

import ipaddress
from urllib.parse import unquote, urlsplit

import aiosmtplib

from media_gateway.auth.mail.port import Mail, MailRefusedError
from media_gateway.core.errors import UnavailableError

TIMEOUT_S = 20.0
"""Longest wait for any one answer of the server, in seconds."""


class SmtpMail:
    """`MailServer` at an address.

    Parameters
    ----------
    url
        As the setting ``mail_url``. ``smtp:`` demands STARTTLS of servers elsewhere: one that is silently done without
        gives links and the password to whoever listens.
    """

    def __init__(self, url: str, *, sender: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._tls else 587)
        self._starttls = not self._tls and parts.query != "tls=off" and not _is_here(self._host)
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Hand a mail over."""
        message = mail.message(self._sender)
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                username=self._username,
                password=self._password,
                use_tls=self._tls,
                start_tls=self._starttls,
                timeout=TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refused(error.recipients[0].code) from None
        except (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError) as error:
            raise _refused(error.code) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # The server's own words may repeat the address.
            raise UnavailableError(f"the mail server does not take mails: {type(error).__name__}") from None


def _refused(code: int) -> UnavailableError | MailRefusedError:
    # RFC 5321, 4.2.1: only 5yz is for good.
    if code >= 500:
        return MailRefusedError(f"the mail server refused the mail: {code}")
    return UnavailableError(f"the mail server does not take the mail now: {code}")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
