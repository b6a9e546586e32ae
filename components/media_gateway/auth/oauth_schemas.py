"""Wire models of OAuth's endpoints."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from media_gateway.auth.device_schemas import Form, Short
from media_gateway.core.web import Wire

Secret = Annotated[str, Field(max_length=2_000)]
Token = Annotated[str, Field(max_length=8_192)]


class TokenForm(Form):
    """A program asks for tokens; which fields are needed depends on the grant type."""

    grant_type: Short
    client_id: Short | None = None
    client_secret: Short | None = Field(default=None, description="Of confidential clients.")
    code: Secret | None = Field(default=None, description="Of `authorization_code`.")
    redirect_uri: Secret | None = Field(default=None, description="Of `authorization_code`.")
    code_verifier: Secret | None = Field(default=None, description="Of `authorization_code` (RFC 7636).")
    refresh_token: Secret | None = Field(default=None, description="Of `refresh_token`.")
    device_code: Secret | None = Field(default=None, description="Of the device grant (RFC 8628).")
    scope: Annotated[str, Field(max_length=1_000)] | None = None
    resource: Secret | None = Field(default=None, description="Whom the token is for (RFC 8707).")


class RevokeForm(Form):
    """A token to end."""

    token: Token
    token_type_hint: Short | None = Field(default=None, description="Only a hint; both kinds are looked for.")
    client_id: Short | None = None
    client_secret: Short | None = None


class InspectForm(RevokeForm):
    """A token to look at."""


class TokenState(BaseModel):
    """What a token is good for (RFC 7662 section 2.2)."""

    model_config = ConfigDict(extra="allow")

    active: bool


class KeySet(Wire):
    """The public keys (RFC 7517 section 5)."""

    keys: list[dict[str, Any]]


class Metadata(BaseModel):
    """What programs need to know of this server (RFC 8414 section 2)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    introspection_endpoint: str
    device_authorization_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    scopes_supported: list[str]
    response_types_supported: list[str] = ["code"]
    response_modes_supported: list[str] = ["query"]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str] = ["none", "client_secret_basic", "client_secret_post"]
    revocation_endpoint_auth_methods_supported: list[str] = [
        "none",
        "client_secret_basic",
        "client_secret_post",
    ]
    introspection_endpoint_auth_methods_supported: list[str] = ["client_secret_basic", "client_secret_post"]
    code_challenge_methods_supported: list[str] = ["S256"]
    authorization_response_iss_parameter_supported: bool = True
    subject_types_supported: list[str] = ["public"]
    id_token_signing_alg_values_supported: list[str]
    claims_supported: list[str] = ["sub", "name", "email", "email_verified", "auth_time", "nonce", "sid"]
    prompt_values_supported: list[str] = ["none", "login", "consent", "select_account"]
    request_parameter_supported: bool = False
    request_uri_parameter_supported: bool = False


class UserInfo(BaseModel):
    """What the token's scopes open of the person (OpenID Connect Core section 5.3)."""

    model_config = ConfigDict(extra="allow")

    sub: str
