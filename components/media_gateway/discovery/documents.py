"""What discovery knows of contents, as the store reads it and the schemas show it.

`IndexedContent` is also what the text index keeps: enough to find a content and to show it in a result without asking
the database.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import orjson

from media_gateway.core.domain.content import CanonicalContent, Offering


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody credited, in one role."""

    role: str
    name: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to watch a content now, as filters see it."""

    platform: str
    region: str
    availability_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedContent:
    """A content as it is searched and listed.

    Attributes
    ----------
    revision : int
        Microseconds since 1970 of the last change in the catalogue; equal revisions are equal contents.
    people : tuple[Person, ...]
        The best billed, at most `store.PEOPLE_LIMIT`.
    platforms : tuple[str, ...]
        Platforms with an offering in effect when it was read, in any region.
    languages : tuple[str, ...]
        The original language first, then those it can be heard in.
    demo_platforms : tuple[str, ...]
        Those among the platforms whose offerings are all made up for the demo catalogue.
    offers : tuple[Offer, ...]
        The offerings in effect, for filters. There can be hundreds, so the index does not give them back.
    """

    content_id: UUID
    revision: int
    content_type: str
    title: str
    original_title: str | None = None
    alternate_titles: tuple[str, ...] = ()
    overview: str | None = None
    release_year: int | None = None
    genres: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()
    platforms: tuple[str, ...] = ()
    demo_platforms: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    popularity_score: float | None = None
    average_rating: float | None = None
    maturity_rating: str | None = None
    poster: str | None = None
    offers: tuple[Offer, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """Every distinct title, the main one first."""
        others = (self.original_title,) if self.original_title else ()
        return tuple(dict.fromkeys((self.title, *others, *self.alternate_titles)))

    def to_bytes(self) -> bytes:
        """JSON of all members but the offers."""
        members = {name: getattr(self, name) for name in self.__slots__ if name != "offers"}
        return orjson.dumps(members)

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Read back what `to_bytes` wrote."""
        raw: dict[str, Any] = orjson.loads(body)
        members: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()
        }
        members["content_id"] = UUID(raw["content_id"])
        members["people"] = tuple(Person(**person) for person in raw["people"])
        return cls(**members)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilitySummary:
    """Where a content can be watched now, in short.

    Attributes
    ----------
    platforms, regions : tuple[str, ...]
        Those with an offering in effect.
    offerings : int
        How many offerings are in effect.
    demo : bool
        Whether any of them is made up for the demo catalogue.
    """

    platforms: tuple[str, ...]
    regions: tuple[str, ...]
    offerings: int
    demo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentDetails:
    """A content with everything known of it but its single offerings."""

    content: CanonicalContent
    availability: AvailabilitySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedOffering:
    """An offering with the source that lists it; ``ended_at`` is when the source stopped to."""

    source: str
    offering: Offering
    first_seen: datetime
    last_seen: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Trend:
    """A content and how much it is in demand now: 0 to 1 by the catalogue alone, more if people do something with it.

    Attributes
    ----------
    active : bool
        Whether activity speaks for it.
    """

    content: IndexedContent
    trending_score: float
    active: bool = False


@dataclass(frozen=True, slots=True)
class Popular:
    """A popular content; ``active`` as in `Trend`."""

    content: IndexedContent
    active: bool = False


@dataclass(frozen=True, slots=True)
class Expiring:
    """A content and an offering of it that is about to end."""

    content: IndexedContent
    platform: str
    region: str
    availability_type: str
    available_until: datetime


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A content that is like another, how much (0 to 1), and why, in words."""

    content: IndexedContent
    similarity: float
    reasons: tuple[str, ...]
