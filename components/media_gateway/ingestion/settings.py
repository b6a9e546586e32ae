"""Settings of ingestion: those of core and these. Read once, at start, by the service and by ``media-gateway ingest``."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from media_gateway.core.domain.content import PlatformName
from media_gateway.core.domain.specs import PresetName
from media_gateway.core.settings import CoreSettings


class Settings(CoreSettings):
    """How jobs run, and which platforms may push records."""

    ingestion_workers: int = Field(
        default=2,
        ge=0,
        le=64,
        description="Jobs from the API that one process works on at the same time.",
        examples=["2"],
    )
    ingestion_lease_s: float = Field(
        default=15.0,
        ge=0.5,
        le=600,
        description="A process that was silent for this long loses its job to the next one that asks, in seconds.",
        examples=["15"],
    )
    ingestion_patience_s: float = Field(
        default=600.0,
        ge=0,
        le=86_400,
        description="How long a running job waits for a server or source that is away before it is suspended, in seconds.",
        examples=["600"],
    )
    ingestion_retention_days: float = Field(
        default=30.0,
        ge=0,
        le=3_650,
        description="How long finished jobs and their dead letters are kept, in days.",
        examples=["30"],
    )
    ingestion_file_dir: Path | None = Field(
        default=None,
        description="Folder that File sources of jobs from the API may read; without it they are refused.",
        examples=["/var/lib/media-gateway/incoming"],
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="Folder with the secrets that manifests name, laid out `<name>/<key>` as Kubernetes mounts them.",
        examples=["/run/secrets/media-gateway"],
    )
    progress_url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Where the job of an IngestionJob reports its progress; the operator sets it.",
        examples=["http://operator.media-gateway.svc:8088/v1/progress/films/nightly"],
    )
    progress_token_file: Path | None = Field(
        default=None,
        description="File with the token of those reports, read anew for each; the operator sets it.",
        examples=["/run/secrets/media-gateway-progress/token"],
    )
    webhook_secrets: Annotated[dict[PlatformName, SecretStr], NoDecode] = Field(
        default={},
        description="Platforms that may push records, with the secret that signs their deliveries (JSON object).",
        examples=['{"streamflix": "the output of openssl rand -hex 32"}'],
    )
    webhook_presets: Annotated[dict[PlatformName, PresetName], NoDecode] = Field(
        default={},
        description="Mapping preset of a platform's deliveries (JSON object); a platform without one sends canonical fields.",
        examples=['{"streamflix": "streaming_availability"}'],
    )
    webhook_tolerance_s: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="Most that the timestamp of a signed delivery may be off, in seconds.",
        examples=["300"],
    )
    webhook_dedup_h: float = Field(
        default=24.0,
        gt=0,
        le=720,
        description="How long a delivery is remembered, so that its repetition is not taken again, in hours.",
        examples=["24"],
    )
    webhook_backlog: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="Deliveries that may wait to be written; more are answered with 503 until the backlog shrinks.",
        examples=["10000"],
    )

    @field_validator("webhook_secrets", "webhook_presets", mode="before")
    @classmethod
    def _json_object(cls, value: Any) -> Any:
        # Not left to the settings library: its error for broken JSON names no variable.
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON object") from None

    @field_validator("webhook_secrets")
    @classmethod
    def _webhook_secrets_long_enough(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if any(len(secret.get_secret_value()) < 16 for secret in value.values()):
            raise ValueError("each secret must have at least 16 characters")
        return value
