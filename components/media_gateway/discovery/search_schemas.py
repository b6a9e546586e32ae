"""Wire models of searching. New members may be added to answers; none changes its meaning."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import AliasChoices, Field, ValidationInfo, field_validator

from media_gateway.core.domain.content import (
    AvailabilityType,
    ContentType,
    Genre,
    LanguageCode,
    MaturityRating,
    PlatformName,
    RegionCode,
)
from media_gateway.core.web import Wire
from media_gateway.discovery.filters import MATURITY_LEVELS, SearchFilter
from media_gateway.discovery.schemas import ContentCard
from media_gateway.discovery.services.search import SearchAnswer, SearchResult
from media_gateway.discovery.text_index import FacetValue, Summary
from media_gateway.discovery.understanding_schemas import ParsedQuery

MAX_QUERY_LENGTH = 500
"""Longest query, in characters: several long sentences. Beyond it nobody describes a film."""

MAX_DEPTH = 10_000
"""Deepest result that can be paged to. Each page sorts everything before it, so depth has to end somewhere."""

Year = Annotated[int, Field(ge=1800, le=2100)]
Rating = Annotated[float, Field(ge=0, le=10)]


class SearchFilters(Wire):
    """Conditions that all hold for a result; within a list any one suffices. Empty lists ask nothing."""

    genres: list[Genre] = Field(default=[], max_length=24, description="Any of these.", examples=[["crime"]])
    blocked_genres: list[Genre] = Field(default=[], max_length=24, description="None of these.")
    platforms: list[PlatformName] = Field(
        default=[],
        max_length=50,
        description="Offered now by any of these platforms; with `region` and `availability_types` in one offering.",
        examples=[["netflix"]],
    )
    availability_types: list[AvailabilityType] = Field(
        default=[], max_length=4, description="Offered now in any of these ways.", examples=[["subscription"]]
    )
    region: RegionCode | None = Field(
        default=None, description="Offered now in this country (ISO 3166-1 alpha-2).", examples=["GB"]
    )
    content_types: list[ContentType] = Field(default=[], max_length=6, description="Any of these.")
    languages: list[LanguageCode] = Field(
        default=[],
        max_length=20,
        description="Made in, or to be heard in, any of these languages (BCP 47).",
        examples=[["fr"]],
    )
    year_from: Year | None = Field(default=None, description="Released in this year or later.")
    year_to: Year | None = Field(default=None, description="Released in this year or before.")
    rating_from: Rating | None = Field(default=None, description="Average rating at least.")
    rating_to: Rating | None = Field(default=None, description="Average rating at most.")
    content_rating_limit: MaturityRating | None = Field(
        default=None,
        description="Rated for no older audience than this; what is not rated is left out.",
        examples=["PG-13"],
    )

    @field_validator("year_to", "rating_to")
    @classmethod
    def _not_reversed(cls, value: float | None, info: ValidationInfo) -> float | None:
        start_name = str(info.field_name).replace("_to", "_from")
        start = info.data.get(start_name)
        if value is not None and start is not None and value < start:
            raise ValueError(f"must not be below {start_name} ({start})")
        return value

    @field_validator("content_rating_limit")
    @classmethod
    def _a_limit(cls, value: MaturityRating | None) -> MaturityRating | None:
        if value is not None and value not in MATURITY_LEVELS:
            raise ValueError(f"says nothing about an age; one of {', '.join(MATURITY_LEVELS)} does")
        return value

    def used(self) -> tuple[str, ...]:
        """Names of the conditions that are set."""
        given = self.model_fields_set
        return tuple(name for name, value in self if value not in ([], None)) if given else ()

    def to_domain(self) -> SearchFilter:
        """The conditions as every leg understands them."""
        limit = self.content_rating_limit
        return SearchFilter(
            genres_any=tuple(self.genres),
            genres_none=tuple(self.blocked_genres),
            platforms_any=tuple(self.platforms),
            availability_types=tuple(self.availability_types),
            region=self.region,
            content_types=tuple(self.content_types),
            languages_any=tuple(self.languages),
            year_from=self.year_from,
            year_to=self.year_to,
            rating_from=self.rating_from,
            rating_to=self.rating_to,
            maturity_level=None if limit is None else MATURITY_LEVELS[limit],
        )


class SearchRequest(Wire):
    """A search."""

    query: str = Field(
        min_length=1,
        max_length=MAX_QUERY_LENGTH,
        description="What is looked for, in plain words: a title (typing errors are forgiven), people, genres, times "
        "(`80s horror`, `comedies before 1960`), what it must not be (`but not horror`), something like another "
        "(`movies like Heat`), or a description. No sign has a special meaning.",
        examples=["the godfather"],
    )
    # Made anew each time, which costs less than the deep copy that a default is.
    filters: SearchFilters = Field(default_factory=SearchFilters)
    page_size: int = Field(default=20, ge=1, le=100, description="Results on a page.")
    page: int = Field(
        default=1,
        ge=1,
        description=f"Page, from 1. page * page_size goes up to {MAX_DEPTH}.",
    )
    variant: str | None = Field(
        default=None,
        max_length=63,
        validation_alias=AliasChoices("variant", "experiment_variant"),
        description="Ranking variant by name (also taken as `experiment_variant`); without it the default one.",
        examples=["default"],
    )
    explain: bool = Field(default=False, description="Also say what each leg of the search did.")

    @field_validator("query")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must hold more than spaces")
        return value

    @field_validator("page")
    @classmethod
    def _not_too_deep(cls, value: int, info: ValidationInfo) -> int:
        page_size = info.data.get("page_size")
        if page_size is not None and value * page_size > MAX_DEPTH:
            raise ValueError(
                f"page * page_size must be at most {MAX_DEPTH}; filters lead to what lies deeper"
            )
        return value


class SearchHit(Wire):
    """A result of a search."""

    content: ContentCard
    relevance_score: float = Field(
        ge=0,
        le=1,
        description="Never rises down the list. 1.0 is the whole title, 0.95 the title but for article or spaces, 0.92 its "
        "sequels, 0.9 a work of the person asked for; below 0.86, how good a match is beside the others of this search.",
    )
    match_reasons: list[str] = Field(
        description="Why it was found, for people.", examples=[["title matches exactly"]]
    )
    keyword_score: float | None = Field(
        description="How well words match, from the worst candidate (0) to the best (1); null if it is no candidate."
    )
    title_score: float | None = Field(description="Likeness of the title to the query, letter by letter.")
    vector_similarity: float | None = Field(
        description="How near the meaning is: cosine similarity, -1 to 1."
    )
    personal_score: float | None = Field(
        description="How much it suits the caller, 0 to 1; null if nothing is known of that."
    )
    ranking_features: dict[str, float] | None = Field(
        description="What the learned re-ranker went by; null unless asked for with `explain`, and where it took no part."
    )

    @classmethod
    def from_domain(cls, result: SearchResult, *, explain: bool) -> Self:
        """The hit of a result."""
        scores = {name: round(score, 4) for name, score in result.scores.items()}
        return cls(
            content=ContentCard.from_domain(result.content),
            relevance_score=result.relevance,
            match_reasons=list(result.reasons),
            keyword_score=scores.get("text"),
            title_score=scores.get("title"),
            vector_similarity=scores.get("vector"),
            personal_score=scores.get("personal"),
            ranking_features=(dict(result.features) or None) if explain else None,
        )


class Facet(Wire):
    """A value and how many of all results have it."""

    value: str
    count: int = Field(ge=1)

    @classmethod
    def all_of(cls, values: Iterable[FacetValue]) -> list[Self]:
        """The facets of counted values."""
        return [cls(value=one.value, count=one.count) for one in values]


class Facets(Wire):
    """What is among all results, on all pages: at most 20 values each, with what a filter by them would leave."""

    genres: list[Facet] = Field(description="Most frequent first.")
    platforms: list[Facet] = Field(
        description="Platforms that offer it now, in any region; most frequent first."
    )
    years: list[Facet] = Field(
        description="Decades, the newest first.", examples=[[{"value": "1990s", "count": 3}]]
    )
    ratings: list[Facet] = Field(
        description="Classes of average ratings, the best first; `7-8` holds 7 and not 8.",
        examples=[[{"value": "8-10", "count": 3}]],
    )

    @classmethod
    def from_domain(cls, summary: Summary) -> Self:
        """The facets of a summary."""
        return cls(
            genres=Facet.all_of(summary.genres),
            platforms=Facet.all_of(summary.platforms),
            years=Facet.all_of(summary.years),
            ratings=Facet.all_of(summary.ratings),
        )


class Explanation(Wire):
    """What each leg of the search did."""

    missing: list[str] = Field(
        description="Legs that failed or were late; `parser` if a language model should have read the query, too; `personal` if "
        "the order should have been the caller's own."
    )
    timings_ms: dict[str, float] = Field(description="Time of each leg that answered, in milliseconds.")


class SearchResponse(Wire):
    """One page of results, best first."""

    results: list[SearchHit]
    total_count: int = Field(
        ge=0, description="Contents that were found, on all pages; of a description, the best few hundred."
    )
    page: int
    page_size: int
    facets: Facets
    query_parsed: ParsedQuery
    did_you_mean: str | None = Field(
        description="The query as it was probably meant, to be offered; null if it is fine, or past guessing."
    )
    personalised: bool = Field(description="Whether the order is the caller's own.")
    degraded: bool = Field(
        description="Part of the catalogue, or one way to search it, was missing; the same search may find more later."
    )
    search_time_ms: float = Field(ge=0, description="Time the search took, in milliseconds.")
    explanation: Explanation | None = Field(description="Null unless asked for with `explain`.")

    @classmethod
    def from_domain(cls, answer: SearchAnswer, request: SearchRequest) -> Self:
        """The page of an answer."""
        return cls(
            results=[SearchHit.from_domain(result, explain=request.explain) for result in answer.results],
            total_count=answer.summary.total,
            page=request.page,
            page_size=request.page_size,
            facets=Facets.from_domain(answer.summary),
            query_parsed=ParsedQuery.from_domain(answer, request.query),
            did_you_mean=answer.did_you_mean,
            personalised=answer.personalised,
            degraded=answer.degraded,
            search_time_ms=answer.elapsed_ms,
            explanation=Explanation(missing=list(answer.missing), timings_ms=dict(answer.timings_ms))
            if request.explain
            else None,
        )
