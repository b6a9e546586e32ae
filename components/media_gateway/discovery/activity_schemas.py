"""Wire models about what people do with answers, and the name that an answer to a search goes by."""

from uuid import UUID

from pydantic import Field, field_validator

from media_gateway.core.domain.content import RegionCode
from media_gateway.core.web import Wire

SEARCH_ID = "X-Search-Id"
"""Header of every answer to a search: the id that clicks name. A header, so that cached answers are sent as they are."""

MAX_POSITION = 10_000
"""Deepest rank that a search can page to."""


class ClickRequest(Wire):
    """A click on a result."""

    search_id: UUID = Field(description=f"`{SEARCH_ID}` of the answer.")
    content_id: UUID = Field(description="The content that was chosen.")
    position: int = Field(
        ge=1, le=MAX_POSITION, description="Its rank, from 1 on the first page.", examples=[1]
    )
    region: RegionCode | None = Field(
        default=None,
        description="Where it was chosen (ISO 3166-1 alpha-2): it counts there for what is trending, and in the world.",
        examples=["GB"],
    )

    @field_validator("search_id")
    @classmethod
    def _is_one(cls, value: UUID) -> UUID:
        if value.version != 7:
            raise ValueError(f"is no search id: send {SEARCH_ID} of the answer")
        return value
