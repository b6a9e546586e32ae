"""Settings of the gateway: those of core and these. Read once, at start."""

import json
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from media_gateway.core.settings import CoreSettings

ADDRESS = r"^https?://[^/?#@\s]+$"


class Settings(CoreSettings):
    """Where the services are, and who may call from a browser."""

    discovery_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Address of discovery for the gateway.",
        examples=["http://discovery:8081"],
    )
    sona_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Address of sona, which scores results for callers with a token; without it everybody gets the same order.",
        examples=["http://sona:8082"],
    )
    sync_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Address of sync for the gateway.",
        examples=["http://sync:8083"],
    )
    auth_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Address of auth for the gateway.",
        examples=["http://auth:8084"],
    )
    ingestion_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Address of ingestion for the gateway.",
        examples=["http://ingestion:8085"],
    )
    playback_url: str | None = Field(
        default=None,
        pattern=ADDRESS,
        description="Address of playback for the gateway.",
        examples=["http://playback:8086"],
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of web pages that may call the gateway from a browser (JSON list); none by default. "
        '`["*"]` lets any page call, without cookies.',
        examples=['["https://app.example"]'],
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _json_list(cls, value: Any) -> Any:
        # Not left to the settings library: its error for broken JSON names no variable.
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON list") from None
