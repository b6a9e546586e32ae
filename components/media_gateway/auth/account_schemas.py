"""Wire models of registering, signing in and mailed links."""

from typing import Annotated, Literal

from pydantic import Field

from media_gateway.auth.emails import Email
from media_gateway.core.web import Wire

Secret = Annotated[str, Field(max_length=1_024, examples=["Correct-Horse-1"])]
MailedToken = Annotated[str, Field(min_length=1, max_length=128, description="From the link in the mail.")]
DisplayName = Annotated[str, Field(max_length=100, examples=["Ann"])]


class RegisterBody(Wire):
    """A new account."""

    email: Email
    password: Secret
    display_name: DisplayName = ""


class SignInBody(Wire):
    """Who signs in."""

    email: Annotated[str, Field(max_length=254, examples=["ann@tv.example"])]
    password: Secret
    second_factor: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="A code of the authenticator app or a backup code, where one is set up."
    )


class EmailBody(Wire):
    """Whom to send a mail."""

    email: Email


class TokenBody(Wire):
    """A mailed token."""

    token: MailedToken


class ResetBody(Wire):
    """A new password for a mailed token."""

    token: MailedToken
    password: Secret


class Message(Wire):
    """What happened, in words."""

    message: str


class SessionTokens(Wire):
    """Tokens of a person who has signed in."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind, not a secret
    expires_in: int = Field(description="Life of the access token, in seconds.")
    refresh_token: str | None
    scope: str
