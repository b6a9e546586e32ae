"""Wire models of second factors."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from media_gateway.core.web import Wire


class CodeBody(Wire):
    """A code as proof."""

    code: Annotated[str, Field(min_length=1, max_length=32)] = Field(
        description="Six digits of the authenticator app, or a backup code.", examples=["492039"]
    )


class EnrolmentView(Wire):
    """What goes into the authenticator app. It is told once."""

    secret: str = Field(description="In base32, for typing.")
    otpauth_uri: str = Field(description="The same for a QR code.")


class BackupCodesView(Wire):
    """Backup codes. They are told once."""

    backup_codes: list[str] = Field(description="Each signs in once in place of a code of the app.")


class FactorStateView(Wire):
    """How it stands with the second factor."""

    enabled: bool = Field(description="Whether sign-ins ask for a code.")
    pending: bool = Field(description="Whether an app was enrolled and waits for its first code.")
    confirmed_at: AwareDatetime | None
    backup_codes_left: int
