"""Wire models: the base that every request and response model derives from, and those that all components share."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from media_gateway.core.health import Status


class Wire(BaseModel):
    """Base of request and response models: an unknown field is an error, not a surprise; no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, from_attributes=True)


class FieldProblem(Wire):
    """One wrong field of a request."""

    field: str = Field(
        description="Dotted path of the field; empty for the whole document.", examples=["filters.genres.0"]
    )
    message: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """An error, as RFC 9457 describes it. Further members may be present."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="Identifier of the kind of problem.",
        examples=["tag:mediagateway.io,2025:problem/not_found"],
    )
    title: str = Field(description="The kind of problem in words.", examples=["Not found"])
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="This occurrence in words.")
    code: str = Field(description="Stable name of the kind, for programs.", examples=["not_found"])
    retryable: bool = Field(description="Whether the same request may succeed later without being changed.")
    request_id: str | None = Field(default=None, description="Id to give to support; also in X-Request-Id.")
    retry_after_ms: int | None = Field(
        default=None, ge=0, description="Least wait before another try, in milliseconds."
    )
    errors: list[FieldProblem] | None = Field(default=None, description="The wrong fields.")


class HealthPart(Wire):
    """State of one dependency or background task."""

    name: str = Field(examples=["database"])
    status: Status
    latency_ms: float = Field(ge=0, description="How long the check took, in milliseconds.")
    message: str | None = Field(description="Why the part is not healthy.")
    critical: bool = Field(description="Whether the component is of no use without this part.")


class HealthView(Wire):
    """State of a component and of its parts."""

    status: Status = Field(
        description="Unhealthy if a critical part is, degraded if any part is not healthy."
    )
    components: list[HealthPart]
    version: str
    timestamp: datetime = Field(description="When the parts were checked.")
    total_latency_ms: float = Field(ge=0, description="How long all checks took together, in milliseconds.")


class Alive(Wire):
    """The process runs and its event loop turns."""

    status: Literal["alive"] = "alive"


class Readiness(Wire):
    """Whether the component wants requests."""

    status: Literal["ready", "draining", "unready"]
    failing: list[str] = Field(default_factory=list, description="Critical parts that are not healthy.")


def to_bytes(model: BaseModel, *, exclude_none: bool = False) -> bytes:
    """JSON of a model, names as on the wire. The serializer gives bytes at once; ``model_dump_json`` would make a str."""
    return model.__pydantic_serializer__.to_json(model, by_alias=True, exclude_none=exclude_none)
