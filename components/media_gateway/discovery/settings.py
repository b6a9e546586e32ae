"""Settings of discovery: those of core and these. Read once, at start."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from media_gateway.core.settings import MIN_SECRET_BYTES, CoreSettings


class Settings(CoreSettings):
    """How discovery searches and keeps its index."""

    search_threads: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Threads that search the text index, beside the event loop; about the number of cores.",
        examples=["2"],
    )
    reranker_path: Path | None = Field(
        default=None,
        description="Model that orders the first results of descriptions, as `media-gateway eval train-reranker` writes it; "
        "by default the one of the package.",
        examples=["/etc/media-gateway/reranker.json"],
    )
    index_batch_ms: int = Field(
        default=50,
        ge=0,
        le=1_000,
        description="How long content events are gathered into one commit of the text index, in milliseconds. "
        "A change is searchable about this long after it reaches the bus.",
        examples=["50"],
    )
    index_reconcile_s: float = Field(
        default=300.0,
        ge=0.05,
        le=86_400,
        description="How often the text index is compared with the database, in seconds, to repair what events missed.",
        examples=["300"],
    )
    sona_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Address of sona, which scores results for callers with a token; without it everybody gets the same order.",
        examples=["http://sona:8082"],
    )
    query_parser_url: SecretStr | None = Field(
        default=None,
        description="Language model that reads what the rules leave of a query: any OpenAI-compatible server, asked at most "
        "2 s. Queries are sent to it. Without one the rules read alone.",
        examples=["openai://host/v1?model=gpt-4o-mini"],
    )
    query_parser_api_key: SecretStr | None = Field(
        default=None, description="API key of that server.", examples=["sk-…"]
    )
    analytics_key: SecretStr | None = Field(
        default=None,
        description="Secret (at least 32 bytes) under which search analytics hash queries and searchers; by default one made "
        "of the auth secret. The same for all replicas; with another one popular searches are counted anew.",
        examples=["the output of `openssl rand -hex 32`"],
    )
    analytics_kept_days: float = Field(
        default=30.0,
        gt=0,
        le=3_650,
        description="How long searches and clicks are kept for analytics, in days.",
        examples=["30"],
    )

    @field_validator("query_parser_url")
    @classmethod
    def _known_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("openai:", "openai+http:")):
            raise ValueError("not an address with a known scheme (openai, openai+http)")
        return value

    @field_validator("analytics_key")
    @classmethod
    def _key_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"shorter than {MIN_SECRET_BYTES} bytes")
        return value
