"""Mails: what one is, who sends them (`MailServer`), and the choice of who does."""

from urllib.parse import urlsplit

from media_gateway.auth.account_settings import AccountSettings
from media_gateway.auth.mail.port import Mail, MailRefusedError, MailServer

__all__ = ["Mail", "MailRefusedError", "MailServer", "open_mail"]


def open_mail(settings: AccountSettings) -> MailServer:
    """The server that the settings name; nothing is connected yet."""
    url = settings.mail_url.get_secret_value()
    if urlsplit(url).scheme == "folder":
        from media_gateway.auth.mail.folder import FolderMail

        path = url.partition(":")[2]
        return FolderMail(path or settings.state_path / "mails", sender=settings.mail_from)
    from media_gateway.auth.mail.smtp import SmtpMail

    return SmtpMail(url, sender=settings.mail_from)
