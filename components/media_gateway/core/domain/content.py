"""The catalogue: what a source says of a work (`SourceRecord`) and what we make of it (`CanonicalContent`).

Used by ingestion (writes), discovery (reads) and the vector payload. Field meanings and limits are those of the
canonical model that the platform's clients know; sets are ordered tuples without duplicates.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class ContentType(StrEnum):
    """Kind of work."""

    MOVIE = "movie"
    SERIES = "series"
    EPISODE = "episode"
    SHORT = "short"
    DOCUMENTARY = "documentary"
    SPECIAL = "special"


class Genre(StrEnum):
    """The closed list of genres; a source's own words are mapped to it, what fits none becomes a keyword."""

    ACTION = "action"
    ADVENTURE = "adventure"
    ANIMATION = "animation"
    BIOGRAPHY = "biography"
    COMEDY = "comedy"
    CRIME = "crime"
    DOCUMENTARY = "documentary"
    DRAMA = "drama"
    FAMILY = "family"
    FANTASY = "fantasy"
    HISTORY = "history"
    HORROR = "horror"
    KIDS = "kids"
    MUSIC = "music"
    MUSICAL = "musical"
    MYSTERY = "mystery"
    NEWS = "news"
    REALITY = "reality"
    ROMANCE = "romance"
    SCIENCE_FICTION = "science_fiction"
    SPORT = "sport"
    THRILLER = "thriller"
    WAR = "war"
    WESTERN = "western"


class MaturityRating(StrEnum):
    """MPA film ratings and US TV parental guidelines."""

    G = "G"
    PG = "PG"
    PG_13 = "PG-13"
    R = "R"
    NC_17 = "NC-17"
    NR = "NR"
    TV_Y = "TV-Y"
    TV_Y7 = "TV-Y7"
    TV_G = "TV-G"
    TV_PG = "TV-PG"
    TV_14 = "TV-14"
    TV_MA = "TV-MA"


class AvailabilityType(StrEnum):
    """How a platform offers a work."""

    SUBSCRIPTION = "subscription"
    RENTAL = "rental"
    PURCHASE = "purchase"
    FREE = "free"


class VideoQuality(StrEnum):
    """Best known picture classes of an offering."""

    SD = "SD"
    HD = "HD"
    UHD = "UHD"
    HDR = "HDR"


class SeriesStatus(StrEnum):
    """Where a series stands."""

    ONGOING = "ongoing"
    ENDED = "ended"
    CANCELLED = "cancelled"
    HIATUS = "hiatus"


class CreditRole(StrEnum):
    """What a person did for a work."""

    DIRECTOR = "director"
    WRITER = "writer"
    ACTOR = "actor"
    PRODUCER = "producer"


PlatformName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]
"""Slug of a platform (``netflix``, ``prime_video``)."""

RegionCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
"""BCP 47, lower-case primary subtag."""

ShortText = Annotated[str, Field(min_length=1, max_length=200)]


class Frozen(BaseModel):
    """Immutable, strict about unknown fields: a typo in a source mapping is an error, not a silent loss."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class ExternalIds(Frozen):
    """Identifiers that other registries give a work. Equal exact ids mean the same work."""

    eidr: Annotated[str, Field(pattern=r"^10\.5240/([0-9A-F]{4}-){5}[0-9A-Z]$")] | None = None
    imdb: Annotated[str, Field(pattern=r"^tt[0-9]{7,10}$")] | None = None
    tmdb: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    tvdb: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    gracenote: Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9]{8,14}$")] | None = None
    wikidata: Annotated[str, Field(pattern=r"^Q[1-9][0-9]{0,11}$")] | None = None
    platforms: dict[PlatformName, Annotated[str, Field(min_length=1, max_length=200)]] = {}


class Offering(Frozen):
    """One way to watch a work: platform, region and availability type name it; a work has at most one of each."""

    platform: PlatformName
    region: RegionCode
    availability_type: AvailabilityType
    price_cents: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """Price in the currency's minor unit, an integer."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """ISO 4217; required where a price is given."""
    video_qualities: tuple[VideoQuality, ...] = ()
    audio_languages: tuple[LanguageCode, ...] = ()
    subtitle_languages: tuple[LanguageCode, ...] = ()
    subtitle_formats: tuple[ShortText, ...] = ()
    available_from: datetime | None = None
    available_until: datetime | None = None
    url: Annotated[str, Field(max_length=2000, pattern=r"^https?://")] | None = None
    demo: bool = False
    """Made up for the demo catalogue: no real platform offers this."""


class Credit(Frozen):
    """A person's part in a work."""

    name: ShortText
    role: CreditRole
    character: Annotated[str, Field(max_length=300)] | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Billing order within the role, from 0."""
    external_id: Annotated[str, Field(max_length=100)] | None = None


class Images(Frozen):
    """Addresses of pictures."""

    poster: Annotated[str, Field(max_length=2000)] | None = None
    backdrop: Annotated[str, Field(max_length=2000)] | None = None
    thumbnail: Annotated[str, Field(max_length=2000)] | None = None
    logo: Annotated[str, Field(max_length=2000)] | None = None
    additional: tuple[Annotated[str, Field(max_length=2000)], ...] = ()


class SeriesData(Frozen):
    """Facts only series and episodes have."""

    total_seasons: Annotated[int, Field(ge=0, le=1000)] | None = None
    total_episodes: Annotated[int, Field(ge=0, le=100_000)] | None = None
    season_number: Annotated[int, Field(ge=0, le=1000)] | None = None
    episode_number: Annotated[int, Field(ge=0, le=100_000)] | None = None
    series_id: Annotated[str, Field(max_length=200)] | None = None
    status: SeriesStatus | None = None


class Facts(Frozen):
    """What is said of a work, by one source or after folding. ``None`` means "not said" and never erases."""

    content_type: ContentType
    title: Annotated[str, Field(min_length=1, max_length=500)]
    original_title: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    alternate_titles: dict[LanguageCode, Annotated[str, Field(min_length=1, max_length=500)]] | None = None
    overview: Annotated[str, Field(max_length=5000)] | None = None
    release_year: Annotated[int, Field(ge=1800, le=2100)] | None = None
    release_date: date | None = None
    runtime_minutes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    genres: tuple[Genre, ...] | None = None
    maturity_rating: MaturityRating | None = None
    external_ids: ExternalIds = ExternalIds()
    offerings: tuple[Offering, ...] | None = None
    credits: tuple[Credit, ...] | None = None
    images: Images | None = None
    series: SeriesData | None = None
    average_rating: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    rating_count: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    popularity_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    original_language: LanguageCode | None = None
    audio_languages: tuple[LanguageCode, ...] | None = None
    production_countries: tuple[ShortText, ...] | None = None
    production_companies: tuple[ShortText, ...] | None = None
    keywords: tuple[ShortText, ...] | None = None


class SourceRecord(Facts):
    """One source's statement about one work, after mapping; kept as it came."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Name of the source (``demo``, ``tmdb``)."""
    source_id: Annotated[str, Field(min_length=1, max_length=200)]
    """The source's own key of the work."""
    updated_at: datetime | None = None
    """When the source says it last changed this record."""
    embedding: tuple[float, ...] | None = None
    """Vector brought by the source, of the platform's embedding model; only then does the embedding rule apply."""


class LinkReason(StrEnum):
    """Why a source record belongs to its canonical content, strongest first."""

    EXACT_ID = "exact_id"
    EXACT_TITLE = "exact_title"
    FUZZY_TITLE = "fuzzy_title"
    EMBEDDING = "embedding"
    NEW = "new"
    ADMIN = "admin"


class CanonicalContent(Facts):
    """A work of the catalogue: the fold of its linked source records."""

    id: UUID
    sources: tuple[str, ...] = ()
    """Names of the sources that speak of it, in priority order."""
    quality_score: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How complete the facts are; weights in ``ingestion.folding``."""
    created_at: datetime
    updated_at: datetime


ContentEventType = Literal[
    "content.ingested",
    "content.updated",
    "content.availability_changed",
    "content.metadata_enriched",
    "content.merged",
    "content.removed",
]
