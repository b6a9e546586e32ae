"""Settings of the operator, read from ``MEDIA_GATEWAY_OPERATOR_*`` variables and checked at start.

The chart sets them; nothing else of the operator reads the environment, except that ``kube.config`` looks for
``KUBECONFIG``.
"""

import secrets
import socket
import textwrap
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from media_gateway import __version__
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.validation import message_of

PREFIX: Final = "MEDIA_GATEWAY_OPERATOR_"

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _without_slash(value: str) -> str:
    return value.rstrip("/")


class OperatorSettings(BaseSettings):
    """Where the operator works, how hard, and which images it uses."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Namespaces to work in, separated by commas; empty is all. With names the operator needs no right "
        "outside of them.",
        examples=["media,media-staging"],
    )
    namespace: str | None = Field(
        default=None,
        description="Namespace of the operator itself; default is that of its service account.",
        examples=["media-gateway-system"],
    )
    identity: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{secrets.token_hex(4)}",
        min_length=1,
        description="Name of this replica in the Lease, no two alike; in a pod, the pod's name. "
        "Default is the host name with a random part.",
        examples=["media-gateway-operator-7d9c-abcde"],
    )
    advertised_address: str | None = Field(
        default=None,
        description="Host (or host:port) at which job pods reach this replica's progress door.",
        examples=["10.0.0.7"],
    )
    lease_name: str = Field(
        default="media-gateway-operator",
        min_length=1,
        description="Name of the Lease that the replicas share.",
        examples=["media-gateway-operator"],
    )
    lease_namespace: str | None = Field(
        default=None,
        description="Namespace of the Lease; default is the operator's.",
        examples=["media-gateway-system"],
    )
    lease_duration_s: float = Field(
        default=15.0,
        gt=0,
        le=600,
        description="How long the others wait for a silent leader, in seconds.",
        examples=["15"],
    )
    lease_renew_deadline_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="How long the leader acts without having renewed the Lease, in seconds; then its process ends.",
        examples=["10"],
    )
    lease_retry_s: float = Field(
        default=2.0, gt=0, le=60, description="Pause between tries at the Lease, in seconds.", examples=["2"]
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Resources of each kind that are reconciled at once.",
        examples=["16"],
    )
    api_in_flight: int = Field(
        default=32,
        ge=2,
        le=512,
        description="Most requests to the API server at once, watches not counted.",
        examples=["32"],
    )
    api_rate: float = Field(
        default=1_000.0,
        ge=1,
        le=100_000,
        description="Most requests to the API server in a second, watches not counted.",
        examples=["200"],
    )
    api_timeout_s: float = Field(
        default=15.0,
        gt=0,
        le=300,
        description="Longest one request to the API server may take, in seconds.",
        examples=["15"],
    )
    reconcile_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest one reconciliation may take, in seconds.",
        examples=["60"],
    )
    resync_s: float = Field(
        default=600.0,
        ge=10,
        le=86_400,
        description="How often each resource is looked at without a reason, in seconds; spread by a random tenth.",
        examples=["600"],
    )
    backoff_base_s: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Pause after a first failure with a resource, in seconds; doubled with each further one.",
        examples=["1"],
    )
    backoff_max_s: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="Longest pause between tries at a failing resource, in seconds.",
        examples=["300"],
    )
    watch_stale_s: float = Field(
        default=180.0,
        ge=5,
        le=3600,
        description="Liveness fails when a watched kind has been silent for so long, in seconds. "
        "The API server says something at least every minute.",
        examples=["180"],
    )
    watch_inactivity_s: float = Field(
        default=70.0,
        ge=1,
        le=3600,
        description="A silent watch is opened anew after so long, in seconds.",
        examples=["70"],
    )
    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - probes and job pods come from outside of the pod
        description="Address to listen on.",
        examples=["127.0.0.1"],
    )
    port: int = Field(
        default=8080,
        ge=0,
        le=65_535,
        description="Port of `/healthz`, `/readyz` and `/metrics`.",
        examples=["8080"],
    )
    progress_port: int = Field(
        default=8088,
        ge=0,
        le=65_535,
        description="Port to which job pods report their progress.",
        examples=["8088"],
    )
    stalled_after_s: int = Field(
        default=300,
        ge=10,
        le=86_400,
        description="A running IngestionJob whose pod reports nothing new for so long is Stalled, in seconds.",
        examples=["300"],
    )
    service_name: str = Field(
        default="media-gateway-operator",
        min_length=1,
        description="Name of the operator's Service; job pods send their progress there.",
        examples=["media-gateway-operator"],
    )
    image_registry: Annotated[str, AfterValidator(_without_slash)] = Field(
        default="localhost",
        min_length=1,
        description="Where the components' images are, unless a MediaGateway says otherwise.",
        examples=["registry.example/media"],
    )
    image_version: str = Field(
        default=__version__,
        min_length=1,
        description="Tag of the components' images, unless a MediaGateway says otherwise.",
        examples=[__version__],
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged.", examples=["info"]
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="`json` for machines, `console` for people.", examples=["json"]
    )

    @field_validator("watch_namespaces", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(name for part in value.split(",") if (name := part.strip())))

    @model_validator(mode="after")
    def _ordered(self) -> "OperatorSettings":
        # The order of client-go: a leader must have given up before anyone else may take over.
        if not self.lease_retry_s < self.lease_renew_deadline_s < self.lease_duration_s:
            raise ValueError(
                "lease_retry_s < lease_renew_deadline_s < lease_duration_s must hold, here "
                f"{self.lease_retry_s:g}, {self.lease_renew_deadline_s:g}, {self.lease_duration_s:g}"
            )
        if self.backoff_base_s > self.backoff_max_s:
            raise ValueError("backoff_base_s must not be over backoff_max_s")
        return self

    @cached_property
    def own_namespace(self) -> str:
        """Namespace of the operator."""
        if self.namespace:
            return self.namespace
        try:
            return _NAMESPACE_FILE.read_text().strip()
        except OSError:
            return "default"

    @property
    def progress_address(self) -> str:
        """Base address of the progress door for job pods: the operator's Service."""
        return f"http://{self.service_name}.{self.own_namespace}.svc:{self.progress_port}"


def load_settings() -> OperatorSettings:
    """Read and check the settings from the environment.

    Raises
    ------
    NotConfiguredError
        One line for each wrong variable: its name, what is wrong, an example.
    """
    try:
        return OperatorSettings()
    except ValidationError as error:
        lines = [_explain(dict(problem)) for problem in error.errors(include_input=False)]
        raise NotConfiguredError("\n".join(lines)) from None


def _explain(problem: dict[str, object]) -> str:
    location = problem["loc"]
    if not isinstance(location, tuple) or not location:
        return f"{PREFIX}*: {message_of(problem)}"
    name = str(location[0])
    field = OperatorSettings.model_fields.get(name)
    example = f"; example: {PREFIX}{name.upper()}={field.examples[0]}" if field and field.examples else ""
    return f"{PREFIX}{name.upper()}: {message_of(problem)}{example}"


def settings_help() -> str:
    """The settings with their defaults, for ``--help``."""
    lines = ["settings, from the environment:"]
    for name, field in OperatorSettings.model_fields.items():
        lines.append(f"  {PREFIX}{name.upper()}")
        default = field.default
        shown = "" if field.default_factory or default in {None, ()} else f" (default {default})"
        lines += textwrap.wrap(
            f"{field.description}{shown}", 100, initial_indent="      ", subsequent_indent="      "
        )
    return "\n".join(lines)
