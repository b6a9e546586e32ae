"""Settings of discovery: those of core and these. Read once, at start."""

from pydantic import Field

from media_gateway.core.settings import CoreSettings


class Settings(CoreSettings):
    """How discovery searches and keeps its index."""

    search_threads: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Threads that search the text index, beside the event loop; about the number of cores.",
        examples=["2"],
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
