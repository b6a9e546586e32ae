"""Wire models of the device grant."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from media_gateway.core.web import Wire

Short = Annotated[str, Field(max_length=255)]
Code = Annotated[str, Field(max_length=128)]


class Form(BaseModel):
    """Base of OAuth's forms: what is not known is ignored (RFC 6749 section 3.2)."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DeviceForm(Form):
    """A device asks to be signed in."""

    client_id: Short | None = Field(default=None, examples=["tv-app"])
    client_secret: Short | None = Field(default=None, description="Of confidential clients.")
    scope: Annotated[str, Field(max_length=1_000)] | None = Field(
        default=None, description="What it wants to do, separated by spaces. Left out: all it may."
    )


class PollForm(Form):
    """A device asks whether it was approved."""

    device_code: Code
    client_id: Short | None = None
    client_secret: Short | None = Field(default=None, description="Of confidential clients.")
    grant_type: Short | None = Field(
        default=None, description="As at the token endpoint; may be left out here."
    )


class PollQuery(Form):
    """As `PollForm`, for old clients."""

    device_code: Code
    client_id: Short | None = None


class DeviceAnswer(Wire):
    """RFC 8628 section 3.2."""

    device_code: str
    user_code: str = Field(examples=["BCDF-GHJK"])
    verification_uri: str = Field(examples=["https://media.example/device"])
    verification_uri_complete: str = Field(description="With the code in it, for a QR code.")
    expires_in: int = Field(description="Life of both codes, in seconds.")
    interval: int = Field(description="Least time between two polls, in seconds.")


class TokenAnswer(Wire):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind, not a secret
    expires_in: int = Field(description="Life of the access token, in seconds.")
    refresh_token: str | None = None
    scope: str
    id_token: str | None = Field(default=None, description="Who signed in, if `openid` was asked for.")


class Decision(Wire):
    """What a person decides about a device."""

    user_code: str = Field(max_length=64, examples=["BCDF-GHJK"])
    action: Literal["approve", "deny"] = "approve"


class DecisionAnswer(Wire):
    """What was decided."""

    message: str
    user_code: str


class VerifyQuery(Wire):
    """Which device."""

    user_code: str = Field(max_length=64)


class DeviceRequest(Wire):
    """What a person is asked to approve."""

    client_id: str
    client_name: str = Field(examples=["Living-room TV"])
    scopes: list[str]
    source: str = Field(description="Address that the device asked from.")
    requested_at: str = Field(description="When it asked (RFC 3339).")
    expires_at: str = Field(description="Until when it can be approved (RFC 3339).")
