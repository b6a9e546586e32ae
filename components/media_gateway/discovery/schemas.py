"""Wire models of the catalogue's operations; those of searching are in `search_schemas`.

New members may be added to answers; none changes its meaning.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field

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
from media_gateway.core.web import Wire
from media_gateway.discovery.decay import Window
from media_gateway.discovery.documents import (
    ContentDetails,
    Expiring,
    IndexedContent,
    ListedOffering,
    Neighbour,
    Popular,
    Trend,
)
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.store import OfferingFilter
from media_gateway.discovery.store.trends import Scope
from media_gateway.discovery.trending import Question

Basis = Literal["activity", "catalogue", "mixed"]
"""What a list comes from: what people do, the catalogue alone, or the one for some contents and the other for the rest."""

_BASIS = "`activity` if people have done something with every content listed, `catalogue` if with none, else `mixed`."

_REGION = "What people do there, and only contents that are offered there now (ISO 3166-1 alpha-2); by default the world."


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
    window: Window = Field(
        default=Window.WEEK, description="How far back activity counts; half of it fades in half a window."
    )
    region: RegionCode | None = Field(default=None, description=_REGION, examples=["GB"])
    content_type: ContentType | None = None

    def to_domain(self) -> Question:
        """The question as the service takes it."""
        return Question(self.window, Scope(self.region, self.content_type), self.limit)


class TrendingItem(Wire):
    """A content in demand."""

    content: ContentCard
    trending_score: float = Field(
        ge=0,
        description="Popularity in the catalogue, halved for every six years of age (0 to 1), and a tenth of how far "
        "activity in the window is above what is usual for the content, in standard deviations.",
    )


class TrendingResponse(Wire):
    """What is in demand now, best first."""

    results: list[TrendingItem]
    window: Window
    region: str | None
    content_type: ContentType | None
    basis: Basis = Field(description=_BASIS)

    @classmethod
    def from_domain(cls, trends: list[Trend], query: TrendingQuery) -> Self:
        """The answer to a query."""
        items = [
            TrendingItem(content=ContentCard.from_domain(trend.content), trending_score=trend.trending_score)
            for trend in trends
        ]
        return cls(
            results=items,
            window=query.window,
            region=query.region,
            content_type=query.content_type,
            basis=_basis(trends),
        )


class WantedQuery(Wire):
    """What kind of contents is wanted."""

    limit: int = Field(default=20, ge=1, le=100)
    region: RegionCode | None = Field(default=None, description="Only what is offered there now.")
    platform: PlatformName | None = Field(default=None, description="Only what it offers now.")
    genre: Genre | None = None
    content_type: ContentType | None = None

    def to_domain(self) -> SearchFilter:
        """The conditions as the index understands them."""
        return SearchFilter(
            genres_any=(self.genre,) if self.genre else (),
            platforms_any=(self.platform,) if self.platform else (),
            region=self.region,
            content_types=(self.content_type,) if self.content_type else (),
        )


class PopularQuery(WantedQuery):
    """What kind of popular contents is wanted."""

    window: Window | None = Field(
        default=None,
        description="Popular by what people do in it, in `region` or in the world; by default by the catalogue, of all time.",
    )


class PopularResponse(Wire):
    """The most popular contents, best first."""

    results: list[ContentCard]
    window: Window | None
    basis: Basis = Field(description=_BASIS)

    @classmethod
    def from_domain(cls, popular: list[Popular], query: PopularQuery) -> Self:
        """The answer to a query."""
        cards = [ContentCard.from_domain(one.content) for one in popular]
        return cls(results=cards, window=query.window, basis=_basis(popular))


class SimilarItem(Wire):
    """A content that is like another."""

    content: ContentCard
    similarity_score: float = Field(ge=0, le=1, description="Meaning, series, people, genres and keywords.")
    reasons: list[str] = Field(
        description="What both have in common, for people.", examples=[["of the same series"]]
    )


class SimilarResponse(Wire):
    """What is like a content, best first."""

    content_id: UUID = Field(description="The present id of the content.")
    results: list[SimilarItem]

    @classmethod
    def from_domain(cls, content_id: UUID, neighbours: list[Neighbour]) -> Self:
        """The answer for a content."""
        items = [
            SimilarItem(
                content=ContentCard.from_domain(one.content),
                similarity_score=one.similarity,
                reasons=list(one.reasons),
            )
            for one in neighbours
        ]
        return cls(content_id=content_id, results=items)


class ExpiringQuery(Wire):
    """Which offerings are wanted."""

    days: int = Field(default=30, ge=1, le=366, description="Ending within so many days.")
    limit: int = Field(default=20, ge=1, le=100)
    region: RegionCode | None = Field(default=None, examples=["GB"])
    platform: PlatformName | None = Field(default=None, examples=["netflix"])


class ExpiringItem(Wire):
    """An offering that is about to end."""

    content: ContentCard
    platform: str
    region: str
    availability_type: AvailabilityType
    available_until: datetime


class ExpiringResponse(Wire):
    """Offerings that are about to end, the soonest first."""

    results: list[ExpiringItem]

    @classmethod
    def from_domain(cls, expiring: list[Expiring]) -> Self:
        """The answer for these offerings."""
        items = [
            ExpiringItem(
                content=ContentCard.from_domain(one.content),
                platform=one.platform,
                region=one.region,
                availability_type=AvailabilityType(one.availability_type),
                available_until=one.available_until,
            )
            for one in expiring
        ]
        return cls(results=items)


class GenreCount(Wire):
    """A genre and how many contents have it."""

    genre: str
    count: int = Field(ge=0)


class GenresResponse(Wire):
    """The genres of the catalogue, the most frequent first."""

    genres: list[GenreCount]


def _basis(listed: Sequence[Trend | Popular]) -> Basis:
    active = {one.active for one in listed}
    if active == {True}:
        return "activity"
    return "mixed" if active == {True, False} else "catalogue"
