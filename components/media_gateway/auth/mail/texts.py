"""The words of mails. What people typed into forms is in none of them, so that nobody sends his own words through us."""

from typing import NamedTuple
from urllib.parse import quote

from media_gateway.auth.store.mails import MailKind


class Text(NamedTuple):
    """Subject and body."""

    subject: str
    body: str


ADDRESS_TAKEN = Text(
    "Somebody wanted to use your address",
    "Somebody wanted to make this address that of another account. It is that of yours, so nothing was changed.\n\n"
    "If that was you: delete this account first, or use another address.\n",
)

_TEXTS = {
    MailKind.VERIFY_EMAIL: Text(
        "Confirm your e-mail address",
        "An account was made with this address. Open this page to confirm that it is yours:\n\n{link}\n\n"
        "The link works for {hours}. If you did not make an account, do nothing: somebody else has typed your address, "
        "and must not be told that it is theirs.\n",
    ),
    MailKind.REGISTERED_AGAIN: Text(
        "You have an account already",
        "Somebody tried to make an account with this address. It has one already, and nothing was changed.\n\n"
        "If that was you and you forgot the password, set a new one here:\n\n{link}\n\n"
        "The link works for {hours}. If it was not you, do nothing.\n",
    ),
    MailKind.RESET_PASSWORD: Text(
        "Set a new password",
        "Somebody asked for a new password for the account of this address. Set it here:\n\n{link}\n\n"
        "The link works once, for {hours}. If it was not you, do nothing: the password stays as it is.\n",
    ),
    MailKind.CHANGE_EMAIL: Text(
        "Confirm your new e-mail address",
        "This address is to become that of an account. Open this page to confirm that it is yours:\n\n{link}\n\n"
        "The link works for {hours}. If it was not you, do nothing.\n",
    ),
    MailKind.EMAIL_CHANGED: Text(
        "Your e-mail address was changed",
        "The account that had this address has another one now. If it was not you, tell those who run this service.\n",
    ),
    MailKind.PASSWORD_CHANGED: Text(
        "Your password was changed",
        "The password of your account was changed, and everybody was signed out.\n\n"
        "If it was not you, ask for a new password at once, and change that of your mailbox, too.\n",
    ),
    MailKind.ACCOUNT_DELETED: Text(
        "Your account was deleted",
        "The account with this address was deleted, with everything that belonged to it. Farewell.\n",
    ),
}

_PAGES = {
    MailKind.VERIFY_EMAIL: "/auth/verify-email",
    MailKind.CHANGE_EMAIL: "/auth/verify-email",
    MailKind.RESET_PASSWORD: "/auth/reset-password",
    MailKind.REGISTERED_AGAIN: "/auth/reset-password",
}


def text_of(kind: MailKind, *, public_url: str, code: str | None = None, life_s: float = 0.0) -> Text:
    """Subject and body of a mail.

    Parameters
    ----------
    code
        For the link, where the kind has one, which works so many seconds.
    """
    subject, body = _TEXTS[kind]
    link = f"{public_url}{_PAGES[kind]}?token={quote(code)}" if code else ""
    return Text(subject, body.format(link=link, hours=_duration(life_s)))


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes % 60:
        return f"{minutes} {'minute' if minutes == 1 else 'minutes'}"
    return f"{minutes // 60} {'hour' if minutes == 60 else 'hours'}"
