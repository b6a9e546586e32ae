"""Settings of accounts; those of auth extend them."""

from email.utils import parseaddr
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from media_gateway.auth.emails import is_email
from media_gateway.core.settings import CoreSettings

MAIL_SCHEMES = ("folder", "smtp", "smtps")


class AccountSettings(CoreSettings):
    """How people get and keep accounts."""

    require_verified_email: bool = Field(
        default=False,
        description="Let people sign in only after they have confirmed their address. The default lets them in at once: a "
        "mail that is late or lost shuts nobody out, and an account holds nothing of the address's owner until then.",
        examples=["true"],
    )
    verify_email_h: float = Field(
        default=24.0,
        gt=0,
        le=720,
        description="How long a link that confirms an address works, in hours.",
        examples=["24"],
    )
    reset_password_h: float = Field(
        default=1.0,
        gt=0,
        le=72,
        description="How long a link that sets a new password works, in hours. Short: who reads the mail has the account.",
        examples=["1"],
    )
    audit_kept_days: float = Field(
        default=90.0,
        gt=0,
        le=3_650,
        description="How long entries of the audit log are kept, in days.",
        examples=["90"],
    )
    mail_url: SecretStr = Field(
        default=SecretStr("folder:"),
        description="Where mails go: `folder:` writes files into `mails` in the state folder (or the folder named), for "
        "development; `smtp:` is a server that speaks STARTTLS (port 587), which a server on this machine need not, and "
        "nobody need with `?tls=off`; `smtps:` encrypts from the first byte (port 465).",
        examples=["smtp://user:password@mail.example:587"],
    )
    mail_from: str = Field(
        default="Media Gateway <no-reply@localhost.localdomain>",
        description="Sender of mails.",
        examples=["Media Gateway <no-reply@media.example>"],
    )

    @field_validator("mail_url")
    @classmethod
    def _known_mail(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        try:
            parts = urlsplit(text)
            known = parts.scheme in MAIL_SCHEMES and (parts.scheme == "folder" or parts.hostname)
            _ = parts.port
            known = known and parts.query in {"", "tls=off"}
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"not an address with a known scheme ({', '.join(MAIL_SCHEMES)})")
        return value

    @field_validator("mail_from")
    @classmethod
    def _one_sender(cls, value: str) -> str:
        name, address = parseaddr(value)
        if not is_email(address) or not value.isprintable() or (name and not name.isprintable()):
            raise ValueError("not a sender such as Media Gateway <no-reply@media.example>")
        return value
