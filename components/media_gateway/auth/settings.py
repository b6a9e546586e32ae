"""Settings of auth: those of core and these. Read once, at start."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from media_gateway.auth.account_settings import AccountSettings
from media_gateway.auth.sealing import derived_key, read_key
from media_gateway.core.limiting.defaults import SignInLimits


class Settings(SignInLimits, AccountSettings):
    """How people and programs sign in."""

    public_url: str = Field(
        default="http://127.0.0.1:8084",
        pattern=r"^https?://[^/?#@\s]+$",
        description="Address under which people and programs reach auth, without a path: the issuer of its tokens, and where "
        "TVs send people to. Other services name it as the issuer that they expect.",
        examples=["https://media.example"],
    )
    browser_session_h: float = Field(
        default=12.0,
        gt=0,
        le=720,
        description="How long a browser stays signed in to the pages of auth, in hours.",
        examples=["12"],
    )

    signing_keys_path: Path | None = Field(
        default=None,
        description="File with the keys that sign tokens (a JWK Set, made by `media-gateway keys rotate`); it is read again "
        "within seconds of a change. Without it tokens are signed with `AUTH_SECRET`, and programs get no id tokens.",
        examples=["/etc/media-gateway/signing-keys.json"],
    )
    clients_path: Path | None = Field(
        default=None,
        description="YAML or JSON file with registered programs, beside those of the admin API. Without it there are `tv-app` "
        "(device grant) and `web-app` (authorization code, back to loopback addresses only).",
        examples=["/etc/media-gateway/clients.yaml"],
    )
    access_token_s: int = Field(
        default=3_600,
        ge=60,
        le=86_400,
        description="Life of access tokens, in seconds. One that is revoked is refused within about a second.",
        examples=["900"],
    )
    refresh_token_s: int = Field(
        default=2_592_000,
        ge=300,
        le=31_536_000,
        description="Life of a refresh token that is not used, in seconds; each use begins it anew. 30 days, so that a TV in a "
        "holiday home stays signed in.",
        examples=["604800"],
    )
    refresh_leeway_s: float = Field(
        default=0.0,
        ge=0,
        le=15,
        description="For how long a spent refresh token gives the same successor again, in seconds: an answer that got lost, or "
        "two tabs at once, then sign nobody out. 0 takes every second use for theft.",
        examples=["10"],
    )
    authorization_code_s: float = Field(
        default=60.0,
        ge=1,
        le=600,
        description="Life of an authorization code, in seconds (RFC 6749 section 4.1.2 allows ten minutes at most).",
        examples=["60"],
    )
    token_resources: str = Field(
        default="",
        description="Addresses of further services that programs may ask tokens for (RFC 8707), with commas between; such a "
        "token is good there and nowhere else.",
        examples=["https://mcp.example/mcp"],
    )
    grants_kept_days: float = Field(
        default=30.0,
        gt=0,
        le=3_650,
        description="How long expired grants, refresh tokens and codes are kept, in days, so that their reuse is noticed.",
        examples=["30"],
    )

    device_code_s: float = Field(
        default=900.0,
        ge=1,
        le=3_600,
        description="Life of the codes that a TV shows, in seconds. Short, since a code that nobody uses can be guessed.",
        examples=["900"],
    )
    device_poll_s: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Least time between two polls of a TV, in seconds (RFC 8628 section 3.2).",
        examples=["5"],
    )
    device_guesses: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description="Wrong user codes in ten minutes, from one person and from one address, until no more are looked at.",
        examples=["5"],
    )
    device_guesses_of_all: int = Field(
        default=500,
        ge=1,
        le=1_000_000,
        description="Wrong user codes in ten minutes, from everybody together, until no more are looked at. "
        "500 with 5,000 live codes hit one with a probability of 1 in 10,000.",
        examples=["500"],
    )
    sealing_key: SecretStr | None = Field(
        default=None,
        description="Key that encrypts the secrets of authenticator apps: 32 random bytes in hex or base64. Without it one is "
        "derived from `MEDIA_GATEWAY_AUTH_SECRET`; a change of either makes every enrolled app useless.",
        examples=["the output of `openssl rand -hex 32`"],
    )
    mfa_issuer: str = Field(
        default="Media Gateway",
        min_length=1,
        max_length=60,
        pattern=r"^[^:%\x00-\x1f]+$",
        description="Name of this installation in people's authenticator apps.",
        examples=["Media at Home"],
    )

    social_providers_path: Path | None = Field(
        default=None,
        description="File (YAML or JSON) with the providers that people may sign in with instead of a password; it holds "
        "secrets. None by default.",
        examples=["/etc/media-gateway/providers.yaml"],
    )

    @field_validator("sealing_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_key(value.get_secret_value())
        return value

    @property
    def sealing_key_bytes(self) -> bytes | None:
        """`sealing_key`, or the key derived in its place; None without any secret."""
        if self.sealing_key is not None:
            return read_key(self.sealing_key.get_secret_value())
        if self.auth_secret is not None:
            return derived_key(self.auth_secret.get_secret_value(), purpose=b"sealing key of auth")
        return None

    @property
    def is_https(self) -> bool:
        """Whether cookies may be limited to encrypted connections."""
        return self.public_url.startswith("https://")

    @property
    def resources(self) -> frozenset[str]:
        """The addresses of `token_resources`."""
        return frozenset(text.strip() for text in self.token_resources.split(",") if text.strip())
