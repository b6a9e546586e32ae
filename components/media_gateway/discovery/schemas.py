"""Wire models of discovery. New members may be added to answers; none changes its meaning."""

from datetime import date, datetime
from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from media_gateway.core.domain.content import (
    AvailabilityType,
    ContentType,
    Credit,
    ExternalIds,
    Genre,
    Images,
    MaturityRating,
    PlatformName,
    RegionCode,
    SeriesData,
    VideoQuality,
)
from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.core.web import Wire
from media_gateway.discovery.documents import ContentDetails, IndexedContent, ListedOffering, Trend
from media_gateway.discovery.service import SearchAnswer, SearchQuery
from media_gateway.discovery.store import OfferingFilter

MAX_QUERY_LENGTH = 500
"""Longest query, in characters: several long sentences. Beyond it nobody describes a film."""

MAX_DEPTH = 10_000
"""Deepest result that can be paged to. Each page sorts everything before it, so depth has to end somewhere."""

Year = Annotated[int, Field(ge=1800, le=2100)]


class SearchFilters(Wire):
    """Conditions that all hold for a result; within a list any one suffices. Empty lists ask nothing."""

    genres: list[Genre] = Field(default=[], max_length=24, description="Any of these.", examples=[["crime"]])
    platforms: list[PlatformName] = Field(
        default=[],
        max_length=50,
        description="Offered now by any of these platforms, in any region.",
        examples=[["netflix"]],
    )
    content_types: list[ContentType] = Field(default=[], max_length=6, description="Any of these.")
    year_from: Year | None = Field(default=None, description="Released in this year or later.")
    year_to: Year | None = Field(default=None, description="Released in this year or before.")

    @field_validator("year_to")
    @classmethod
    def _not_reversed(cls, value: int | None, info: ValidationInfo) -> int | None:
        year_from = info.data.get("year_from")
        if value is not None and year_from is not None and value < year_from:
            raise ValueError(f"must not be before year_from ({year_from})")
        return value

    def to_domain(self) -> VectorFilter:
        """The conditions as every leg understands them."""
        return VectorFilter(
            genres_any=tuple(self.genres),
            platforms_any=tuple(self.platforms),
            content_types=tuple(self.content_types),
            year_from=self.year_from,
            year_to=self.year_to,
        )


class SearchRequest(Wire):
    """A search."""

    query: str = Field(
        min_length=1,
        max_length=MAX_QUERY_LENGTH,
        description="What is looked for, in plain words: a title (typing errors are forgiven), people, genres, a year, or "
        "a description. No sign has a special meaning.",
        examples=["the godfather"],
    )
    filters: SearchFilters = SearchFilters()
    page_size: int = Field(default=20, ge=1, le=100, description="Results on a page.")
    page: int = Field(
        default=1,
        ge=1,
        description=f"Page, from 1. page * page_size goes up to {MAX_DEPTH}.",
    )

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

    def to_domain(self) -> SearchQuery:
        """The search as the service takes it."""
        return SearchQuery(
            text=self.query, where=self.filters.to_domain(), page=self.page, page_size=self.page_size
        )


class ContentCard(Wire):
    """A content as a list shows it."""

    id: UUID
    title: str
    original_title: str | None
    content_type: str = Field(examples=["movie"])
    overview: str | None
    release_year: int | None
    genres: list[str]
    platforms: list[str] = Field(description="Platforms that offer it now, in any region.")
    demo_platforms: list[str] = Field(
        description="Those of the platforms whose offerings are made up for the demo catalogue: not real."
    )
    popularity_score: float | None = Field(description="0 to 1.")
    average_rating: float | None = Field(description="0 to 10.")
    maturity_rating: str | None
    poster: str | None

    @classmethod
    def from_domain(cls, content: IndexedContent) -> Self:
        """The card of a content."""
        return cls(
            id=content.content_id,
            title=content.title,
            original_title=content.original_title,
            content_type=content.content_type,
            overview=content.overview,
            release_year=content.release_year,
            genres=list(content.genres),
            platforms=list(content.platforms),
            demo_platforms=list(content.demo_platforms),
            popularity_score=content.popularity_score,
            average_rating=content.average_rating,
            maturity_rating=content.maturity_rating,
            poster=content.poster,
        )


class SearchHit(Wire):
    """A result of a search."""

    content: ContentCard
    relevance_score: float = Field(
        ge=0,
        le=1,
        description="Never rises down the list. 1.0 is the whole title, 0.95 the title but for article or spaces, 0.92 its "
        "sequels, 0.9 a work of the person asked for; below, how well words match.",
    )
    match_reasons: list[str] = Field(
        description="Why it was found, for people.", examples=[["title matches exactly"]]
    )


class ParsedQuery(Wire):
    """What was understood of the query."""

    text: str = Field(description="The query, trimmed.")
    terms: list[str] = Field(description="The words looked up: lower case, no accents, no filler words.")


class SearchResponse(Wire):
    """One page of results, best first."""

    results: list[SearchHit]
    total_count: int = Field(ge=0, description="Contents that match, on all pages.")
    page: int
    page_size: int
    query_parsed: ParsedQuery
    degraded: bool = Field(
        description="Part of the catalogue could not be searched yet; the same search may find more later."
    )
    search_time_ms: float = Field(ge=0, description="Time the search took, in milliseconds.")

    @classmethod
    def from_domain(cls, answer: SearchAnswer, query: SearchQuery) -> Self:
        """The page of an answer."""
        return cls(
            results=[
                SearchHit(
                    content=ContentCard.from_domain(result.content),
                    relevance_score=result.relevance,
                    match_reasons=list(result.reasons),
                )
                for result in answer.results
            ],
            total_count=answer.total,
            page=query.page,
            page_size=query.page_size,
            query_parsed=ParsedQuery(text=answer.parsed.text, terms=list(answer.parsed.terms)),
            degraded=answer.degraded,
            search_time_ms=answer.elapsed_ms,
        )


class ContentPath(Wire):
    """Names a content."""

    content_id: UUID = Field(description="Id of a content; ids merged into another content stay valid.")


class AvailabilityView(Wire):
    """Where a content can be watched now, in short."""

    platforms: list[str]
    regions: list[str]
    offerings: int = Field(ge=0, description="Offerings in effect; `/availability` lists them.")
    demo: bool = Field(description="Some of them are made up for the demo catalogue: not real.")


class ContentView(Wire):
    """Everything known of a content. Null means that no source says."""

    id: UUID = Field(
        description="The present id: another one than asked for if that was merged into this content."
    )
    content_type: ContentType
    title: str
    original_title: str | None
    alternate_titles: dict[str, str] | None = Field(description="Language to title.")
    overview: str | None
    release_year: int | None
    release_date: date | None
    runtime_minutes: int | None
    genres: list[Genre]
    maturity_rating: MaturityRating | None
    external_ids: ExternalIds
    credits: list[Credit]
    images: Images | None
    series: SeriesData | None
    average_rating: float | None = Field(description="0 to 10.")
    rating_count: int | None
    popularity_score: float | None = Field(description="0 to 1.")
    original_language: str | None
    audio_languages: list[str]
    production_countries: list[str]
    production_companies: list[str]
    keywords: list[str]
    sources: list[str] = Field(description="Who speaks of it, the most trusted first.")
    quality_score: float = Field(description="How complete the facts are, 0 to 1.")
    availability: AvailabilityView
    created_at: datetime
    updated_at: datetime

    _LISTS: ClassVar = (
        "genres",
        "credits",
        "audio_languages",
        "production_countries",
        "production_companies",
        "keywords",
        "sources",
    )

    @classmethod
    def from_domain(cls, details: ContentDetails) -> Self:
        """The view of a content."""
        facts = {name: value for name, value in details.content if name in cls.model_fields}
        # Sets nobody speaks of are empty; tuples become lists, as the document says.
        facts |= {name: list(facts[name] or ()) for name in cls._LISTS}
        return cls(**facts, availability=AvailabilityView.model_validate(details.availability))


class AvailabilityQuery(Wire):
    """Which offerings are wanted."""

    region: RegionCode | None = Field(default=None, description="ISO 3166-1 alpha-2.", examples=["GB"])
    platform: PlatformName | None = Field(default=None, examples=["netflix"])
    include_ended: bool = Field(
        default=False, description="Also offerings that are over, no longer listed or not begun."
    )

    def to_domain(self) -> OfferingFilter:
        """The filter as the service takes it."""
        return OfferingFilter(region=self.region, platform=self.platform, include_ended=self.include_ended)


class OfferingView(Wire):
    """One way to watch a content."""

    platform: str
    region: str
    availability_type: AvailabilityType
    price_cents: int | None = Field(description="In the currency's minor unit.")
    currency: str | None
    video_qualities: list[VideoQuality]
    audio_languages: list[str]
    subtitle_languages: list[str]
    subtitle_formats: list[str]
    available_from: datetime | None
    available_until: datetime | None
    url: str | None
    source: str = Field(description="Who lists it.")
    demo: bool = Field(description="Made up for the demo catalogue: no real platform offers this.")
    first_seen: datetime
    last_seen: datetime
    ended_at: datetime | None = Field(description="When the source stopped listing it.")

    @classmethod
    def from_domain(cls, listed: ListedOffering) -> Self:
        """The view of an offering."""
        lists = ("video_qualities", "audio_languages", "subtitle_languages", "subtitle_formats")
        facts = dict(listed.offering) | {name: list(getattr(listed.offering, name)) for name in lists}
        seen = {"first_seen": listed.first_seen, "last_seen": listed.last_seen, "ended_at": listed.ended_at}
        return cls(source=listed.source, **facts, **seen)


class AvailabilityResponse(Wire):
    """Where a content can be watched."""

    content_id: UUID = Field(description="The present id of the content.")
    offerings: list[OfferingView]
    total_count: int

    @classmethod
    def from_domain(cls, content_id: UUID, offerings: list[ListedOffering]) -> Self:
        """The answer for a content."""
        return cls(
            content_id=content_id,
            offerings=[OfferingView.from_domain(listed) for listed in offerings],
            total_count=len(offerings),
        )


class TrendingQuery(Wire):
    """What kind of trends is wanted."""

    limit: int = Field(default=20, ge=1, le=100)
    region: RegionCode | None = Field(default=None, description="Only what is offered there now.")
    content_type: ContentType | None = None


class TrendingItem(Wire):
    """A content in demand."""

    content: ContentCard
    trending_score: float = Field(ge=0, description="Popularity, halved for every six years of age.")


class TrendingResponse(Wire):
    """What is in demand now, best first."""

    results: list[TrendingItem]
    region: str | None
    content_type: ContentType | None

    @classmethod
    def from_domain(cls, trends: list[Trend], query: TrendingQuery) -> Self:
        """The answer to a query."""
        items = [
            TrendingItem(content=ContentCard.from_domain(trend.content), trending_score=trend.trending_score)
            for trend in trends
        ]
        return cls(results=items, region=query.region, content_type=query.content_type)
