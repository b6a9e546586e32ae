"""The file with the providers of an installation, and what is known of the usual ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import PREFIX
from media_gateway.core.validation import message_of

SETTING: Final = f"{PREFIX}SOCIAL_PROVIDERS_PATH"

MAX_BYTES: Final = 262_144

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "google": {
        "title": "Google",
        "issuer": "https://accounts.google.com",
        "scopes": ["openid", "email", "profile"],
    },
    "apple": {
        "title": "Apple",
        "issuer": "https://appleid.apple.com",
        "scopes": ["openid", "email", "name"],
        "response_mode": "form_post",
    },
    "github": {
        "title": "GitHub",
        "kind": "github",
        "authorization_endpoint": "https://github.com/login/oauth/authorize",
        "token_endpoint": "https://github.com/login/oauth/access_token",
        "user_endpoint": "https://api.github.com/user",
        "emails_endpoint": "https://api.github.com/user/emails",
        "scopes": ["read:user", "user:email"],
    },
}
"""As the providers document them."""

# Plain HTTP only to this machine, for tests and development: codes and secrets travel there.
SAFE_ADDRESS: Final = r"^(https://|http://(127\.0\.0\.1|localhost)(:|/|$))[^\s?#]*$"

Address = Annotated[str, Field(pattern=SAFE_ADDRESS, max_length=1_000)]


class ClaimNames(BaseModel):
    """Under which names a provider's token tells what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = "sub"
    email: str = "email"
    email_verified: str = "email_verified"
    name: str = "name"


class ProviderConfig(BaseModel):
    """One provider, as the file describes it.

    Attributes
    ----------
    preset
        Which of `PRESETS` fills what is left out; by default the one of the provider's name.
    issuer
        Of an OpenID provider; its endpoints are looked up there unless they are given.
    client_secret
        What we prove ourselves with.
    client_authentication
        How the secret is sent (RFC 6749 section 2.3.1); by default as the provider's configuration says, or in the form.
    private_key, key_id, team_id
        Instead of it: an ES256 key in PEM that signs a secret for each call (Apple).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    preset: Literal["google", "apple", "github"] | None = None
    kind: Literal["oidc", "github"] = "oidc"
    title: str = Field(min_length=1, max_length=60)
    issuer: Address | None = None
    authorization_endpoint: Address | None = None
    token_endpoint: Address | None = None
    jwks_uri: Address | None = None
    user_endpoint: Address | None = None
    emails_endpoint: Address | None = None
    client_id: str = Field(min_length=1, max_length=500)
    client_secret: SecretStr | None = None
    private_key: SecretStr | None = None
    key_id: str | None = None
    team_id: str | None = None
    client_authentication: Literal["basic", "post"] | None = None
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    response_mode: Literal["query", "form_post"] = "query"
    claims: ClaimNames = ClaimNames()

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name = given.get("preset", given.get("name"))
        preset = PRESETS.get(name, {}) if isinstance(name, str) else {}
        return {"title": given.get("name"), **preset, **given}

    @field_validator("private_key")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and "PRIVATE KEY" not in value.get_secret_value():
            raise ValueError("not a private key in PEM")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("give either client_secret or private_key")
        if self.private_key is not None and not (self.key_id and self.team_id):
            raise ValueError("private_key needs key_id and team_id")
        endpoints = (self.authorization_endpoint, self.token_endpoint)
        if self.kind == "github":
            if None in (*endpoints, self.user_endpoint, self.emails_endpoint):
                raise ValueError("all four endpoints are required")
        elif self.issuer is None:
            raise ValueError("issuer is required")
        elif any((*endpoints, self.jwks_uri)) and None in (*endpoints, self.jwks_uri):
            raise ValueError(
                "give authorization_endpoint, token_endpoint and jwks_uri together, or none of them"
            )
        return self


class ProviderFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    providers: tuple[ProviderConfig, ...]

    @field_validator("providers")
    @classmethod
    def _different(cls, value: tuple[ProviderConfig, ...]) -> tuple[ProviderConfig, ...]:
        names = [one.name for one in value]
        if len(set(names)) < len(names):
            raise ValueError("two providers have the same name")
        return value


def load_providers(path: Path) -> tuple[ProviderConfig, ...]:
    """The providers of a YAML or JSON file.

    Raises
    ------
    NotConfiguredError
        It can't be read, or says something that can't be; what is wrong and where, without repeating values: they may be
        secrets.
    """
    try:
        text = path.expanduser().read_bytes()
        if len(text) > MAX_BYTES:
            raise NotConfiguredError(f"{SETTING}: the file is larger than {MAX_BYTES} bytes")
        document = yaml.safe_load(text)
    except OSError as error:
        raise NotConfiguredError(f"{SETTING}: the file can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise NotConfiguredError(f"{SETTING}: the file is neither YAML nor JSON") from None
    try:
        return ProviderFile.model_validate(document).providers
    except ValidationError as error:
        lines = [
            f"{SETTING}: {'.'.join(map(str, one['loc'])) or 'the file'}: {message_of(dict(one))}"
            for one in error.errors(include_input=False)
        ]
        raise NotConfiguredError("\n".join(lines)) from None
