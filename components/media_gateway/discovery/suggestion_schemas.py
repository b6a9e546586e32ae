"""Wire models of autocompletion. New members may be added to answers; none changes its meaning."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StringConstraints

from media_gateway.core.web import Wire
from media_gateway.discovery.suggestions import Kind, MatchedBy, Suggestion


class AutocompleteQuery(Wire):
    """What was typed so far."""

    q: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] = Field(
        description="The text so far; the last word may be unfinished, any word may be. Spaces around it do not count.",
        examples=["dark kni"],
    )
    limit: int = Field(default=10, ge=1, le=20, description="Most suggestions wanted.")


class SuggestionView(Wire):
    """One way to go on."""

    text: str = Field(
        description="To show, and to search for. A title in another language is followed by the main one in brackets.",
        examples=["The Dark Knight"],
    )
    kind: Kind
    content_id: UUID | None = Field(description="The content, if it is a title.")
    release_year: int | None = Field(description="Of that content; tells films of one name apart.")
    matched_by: MatchedBy = Field(
        description="`prefix`: it starts with what was typed; `word`: a later word does, or each typed word starts one of "
        "its words; `typo`: it would but for a letter or two."
    )


class AutocompleteResponse(Wire):
    """Suggestions, best first."""

    q: str = Field(description="What they are for: answers may come out of order.", examples=["dark kni"])
    suggestions: list[SuggestionView]

    @classmethod
    def from_domain(cls, q: str, suggestions: list[Suggestion]) -> Self:
        """The answer for a text."""
        return cls(q=q, suggestions=[SuggestionView.model_validate(suggestion) for suggestion in suggestions])
