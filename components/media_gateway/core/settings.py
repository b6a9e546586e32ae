"""Settings every process reads from ``MEDIA_GATEWAY_*`` variables, checked at start.

A component's ``settings.py`` extends `CoreSettings` with its own fields. ``docs/configuration.md`` is generated from
the fields and their descriptions. Nothing else reads the environment.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.validation import message_of

PREFIX = "MEDIA_GATEWAY_"

SCHEMES: Final[Mapping[str, tuple[str, ...]]] = {
    "database_url": ("embedded", "postgresql", "postgres"),
    "redis_url": (
        "embedded",
        "redis",
        "rediss",
        "unix",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
    ),
    "vector_url": ("pgvector", "qdrant", "qdrants", "qdrant+http", "qdrants+http"),
    "events_url": ("redis-stream", "kafka"),
    "embedder_url": ("minilm", "openai", "openai+http"),
}
"""Schemes of each address. ``core.bootstrap`` has an adapter for each of them; nothing else lists them."""

MIN_SECRET_BYTES = 32
"""RFC 7518 section 3.2: a key of at least the hash's size for HS256."""

FREE_NAMES = re.compile(
    rf"{PREFIX}(SECRET_\w+|TEST_\w+|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT(_\d+_(TCP|UDP)\w*)?)",
    re.ASCII,
)
"""Names that are no settings and no mistakes: manifests' secrets, the tests' own, and the variables that Kubernetes sets
for each Service whose name begins as ours do."""

Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]


class CoreSettings(BaseSettings):
    """Where a process finds its servers, and how it behaves as a service."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    state_dir: Path = Field(
        default=Path("~/.local/state/media-gateway"),
        description="Folder for everything kept on this machine: embedded servers' data, models, generated secrets.",
        examples=["/var/lib/media-gateway"],
    )
    database_url: SecretStr = Field(
        default=SecretStr("embedded:"),
        description="PostgreSQL with pgvector; `embedded:` runs a private server from the installed package.",
        examples=["postgresql://user:password@host:5432/media_gateway"],
    )
    database_pool_size: int = Field(
        default=10,
        ge=1,
        le=200,
        description="Most connections one process opens to Postgres.",
        examples=["20"],
    )
    database_timeout_ms: Milliseconds = Field(
        default=5_000,
        description="Longest one SQL statement of a request may take, in milliseconds.",
        examples=["5000"],
    )
    redis_url: SecretStr = Field(
        default=SecretStr("embedded:"),
        description="Redis 6.2 or newer (also rediss:, Sentinel as redis+sentinel:, Cluster as redis+cluster:); "
        "`embedded:` runs a private server.",
        examples=["redis://:password@host:6379/0"],
    )
    redis_timeout_ms: Milliseconds = Field(
        default=2_000, description="Longest one Redis command may take, in milliseconds.", examples=["2000"]
    )
    vector_url: SecretStr = Field(
        default=SecretStr("pgvector:"),
        description="Vector store: `pgvector:` in the same Postgres, or a Qdrant server.",
        examples=["qdrant://host:6334"],
    )
    events_url: SecretStr = Field(
        default=SecretStr("redis-stream:"),
        description="Event bus: `redis-stream:` on the same Redis, or Kafka brokers.",
        examples=["kafka://broker-1:9092,broker-2:9092"],
    )
    events_kept: int = Field(
        default=20_000,
        ge=1_000,
        le=10_000_000,
        description="Retention of the `redis-stream:` bus: events kept in each of a topic's four streams. "
        "Kafka has its own retention.",
        examples=["100000"],
    )
    rejected_kept_days: float = Field(
        default=30.0,
        gt=0,
        le=3_650,
        description="How long outbox rows that no handler could take are kept for inspection, in days.",
        examples=["30"],
    )
    consumed_kept_days: float = Field(
        default=7.0,
        gt=0,
        le=3_650,
        description="How long the ids of consumed events are kept, in days; an event that comes again later is done again.",
        examples=["7"],
    )
    embedder_url: SecretStr = Field(
        default=SecretStr("minilm:"),
        description="Embedding model: `minilm:` in process, or any OpenAI-compatible server.",
        examples=["openai://host/v1?model=text-embedding-3-small&dimension=384"],
    )
    embedder_api_key: SecretStr | None = Field(
        default=None, description="API key of an `openai:` embedder.", examples=["sk-…"]
    )
    model_dir: Path | None = Field(
        default=None,
        description="Folder of built models; default is `models` in the state folder.",
        examples=["/var/lib/media-gateway/models"],
    )
    auth_secret: SecretStr | None = Field(
        default=None,
        description="Shared secret (HS256, at least 32 bytes) that signs tokens. No default outside embedded mode.",
        examples=["the output of `openssl rand -hex 32`"],
    )
    auth_jwks_url: str | None = Field(
        default=None,
        description="Address of the issuer's key set for RS256 and EdDSA tokens.",
        examples=["https://auth.example/.well-known/jwks.json"],
    )
    auth_issuer: str = Field(
        default="media-gateway",
        description="Expected `iss` of access tokens.",
        examples=["https://auth.example"],
    )
    auth_jwks_issuer: str | None = Field(
        default=None,
        description="Expected `iss` of tokens signed with published keys; default is `AUTH_ISSUER`.",
        examples=["https://auth.example"],
    )
    auth_audience: str = Field(
        default="media-gateway", description="Expected `aud` of access tokens.", examples=["media-gateway"]
    )
    trusted_proxies: str = Field(
        default="",
        description="Networks of the proxies in front, with commas between: only from these peers is `FORWARDED_HEADER` believed.",
        examples=["10.0.0.0/8,fd00::/8"],
    )
    forwarded_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        default="X-Forwarded-For",
        description="The header in which these proxies write the address of the sender. The other one is not read.",
        examples=["Forwarded"],
    )
    ratelimit_path: Path | None = Field(
        default=None,
        description="File with the document of rate limits; it is read again within a second of a change.",
        examples=["/etc/media-gateway/ratelimits.json"],
    )
    ratelimit_key: str | None = Field(
        default=None,
        description="Redis key with the document of rate limits, if there is no file; it is read again within a second of a "
        "change.",
        examples=["media-gateway:ratelimits"],
    )
    ratelimit_timeout_ms: Milliseconds = Field(
        default=100,
        description="Longest a request waits for its counters in Redis, in milliseconds; then each limit's failure mode holds.",
        examples=["50"],
    )
    ratelimit_dry_run: bool = Field(
        default=False,
        description="Refuse nothing: count and log what the rate limits would refuse.",
        examples=["true"],
    )
    ratelimit_legacy_headers: bool = Field(
        default=False,
        description="Also send `X-RateLimit-Limit`, `-Remaining` and `-Reset` (Unix time in seconds).",
        examples=["true"],
    )
    service_host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The default is loopback; containers set 0.0.0.0.",
        examples=["0.0.0.0"],  # noqa: S104 - an example in the documentation, not the default
    )
    service_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port to listen on; default is the component's own.",
        examples=["8081"],
    )
    metrics_port: int | None = Field(
        default=9090,
        ge=0,
        le=65_535,
        description="Port of `/metrics`; 0 takes any free one.",
        examples=["9090"],
    )
    request_timeout_ms: Milliseconds = Field(
        default=30_000,
        description="Longest a request may take when the caller sends no `X-Request-Deadline-Ms`, in milliseconds.",
        examples=["30000"],
    )
    body_limit_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        le=1_073_741_824,
        description="Largest request body, in bytes.",
        examples=["1048576"],
    )
    drain_timeout_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="How long a stopping process finishes requests in flight, in seconds. "
        "Keep it below the pod's termination grace period.",
        examples=["30"],
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        le=60,
        description="How long readiness is off before the listener closes, in seconds, so that load balancers notice.",
        examples=["5"],
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged.", examples=["info"]
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="`json` for machines, `console` for people.", examples=["json"]
    )

    @field_validator(*SCHEMES)
    @classmethod
    def _known_scheme(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        # Of the value only a scheme is repeated: anything else in it may be a password.
        known = SCHEMES[str(info.field_name)]
        scheme, colon, rest = value.get_secret_value().partition(":")
        if scheme in known and colon:
            return value
        if not rest.startswith("//"):
            raise ValueError(f"not an address with a known scheme ({', '.join(known)})")
        raise ValueError(f"unknown scheme {scheme[:40]!r} (known: {', '.join(known)})")

    @field_validator("auth_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"shorter than {MIN_SECRET_BYTES} bytes")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for text in filter(None, value.split(",")):
            ipaddress.ip_network(text.strip(), strict=False)
        return value

    @property
    def trusted_networks(self) -> tuple[str, ...]:
        """The networks of `trusted_proxies`."""
        return tuple(text.strip() for text in self.trusted_proxies.split(",") if text.strip())

    @property
    def models_path(self) -> Path:
        """Folder of built models."""
        return (self.model_dir or self.state_path / "models").expanduser()

    @property
    def state_path(self) -> Path:
        """The state folder, with ``~`` resolved."""
        return self.state_dir.expanduser()


S = TypeVar("S", bound=CoreSettings)


def load_settings(kind: type[S]) -> S:
    """Read and check settings from the environment.

    Raises
    ------
    NotConfiguredError
        One line for each wrong or missing variable: its name, what is wrong, an example. Values are not repeated, since
        they may be secrets.
    """
    try:
        return kind()
    except ValidationError as error:
        raise NotConfiguredError(
            "\n".join(_explain(kind, dict(e)) for e in error.errors(include_input=False))
        ) from None


def _explain(kind: type[CoreSettings], problem: dict[str, object]) -> str:
    location = problem["loc"]
    name = str(location[0]) if isinstance(location, tuple) and location else "settings"
    field = kind.model_fields.get(name)
    example = f"; example: {PREFIX}{name.upper()}={field.examples[0]}" if field and field.examples else ""
    return f"{PREFIX}{name.upper()}: {message_of(problem)}{example}"


def unknown_variables(
    environment: Mapping[str, str], kinds: Iterable[type[CoreSettings]]
) -> dict[str, str | None]:
    """Variables that look like settings and are read by nobody, each with the setting whose name is nearest, if any is near.

    Parameters
    ----------
    environment
        All variables, such as ``os.environ``.
    kinds
        The settings of everything that may share this environment.
    """
    known = {f"{PREFIX}{name.upper()}" for kind in kinds for name in kind.model_fields}
    # The settings library reads names in any case.
    strange = sorted(n for n in environment if n.upper().startswith(PREFIX) and n.upper() not in known)
    return {
        name: next(iter(difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)), None)
        for name in strange
        if not FREE_NAMES.fullmatch(name) and not environment[name].startswith(("tcp://", "udp://"))
    }
