"""What a result must fulfil, in the words of the catalogue. Every leg gets the same filter; the text index is its judge.

Made by the schemas from a request, narrowed by the understanding of a query and by a profile's parental limits.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

from media_gateway.core.domain.content import MaturityRating

MATURITY_LEVELS: Final[Mapping[str, int]] = {
    MaturityRating.G: 0,
    MaturityRating.TV_Y: 0,
    MaturityRating.TV_Y7: 0,
    MaturityRating.TV_G: 0,
    MaturityRating.PG: 1,
    MaturityRating.TV_PG: 1,
    MaturityRating.PG_13: 2,
    MaturityRating.TV_14: 2,
    MaturityRating.R: 3,
    MaturityRating.TV_MA: 3,
    MaturityRating.NC_17: 4,
}
"""Film ratings from mild to strong, each TV guideline beside the film rating for the same age (MPA; TV Parental
Guidelines Monitoring Board). What is not rated has no level and passes no limit: nobody has said that it is harmless."""


N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class PersonAsked:
    """Somebody a content must credit.

    Attributes
    ----------
    name : str
        Folded; a last name alone means directors and leads of that name.
    role : str | None
        What they must have done for it; None for anything.
    """

    name: str
    role: str | None = None

    @property
    def key(self) -> str:
        """The name as indexes have it."""
        return self.name.replace(" ", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """Conditions that all hold for a result. Empty tuples and ``None`` ask nothing.

    Attributes
    ----------
    genres_any, genres_none : tuple[str, ...]
        It has one of these; it has none of these.
    platforms_any, availability_types, region
        There is one offering in effect for which all three hold.
    languages_any : tuple[str, ...]
        Its original language, or one that it can be heard in.
    rating_from, rating_to : float | None
        Average rating, 0 to 10; a content without one passes neither.
    maturity_level : int | None
        At most this level of `MATURITY_LEVELS`; a content without one does not pass.
    genres_all : tuple[tuple[str, ...], ...]
        It has one of each of these.
    people_all : tuple[PersonAsked, ...]
        All of them are credited; of ``people_none`` nobody is.
    keywords_all : tuple[str, ...]
        It has all of these among its keywords.
    words_none : tuple[str, ...]
        Folded words, none of which stands in its titles, genres, keywords or overview.
    """

    genres_any: tuple[str, ...] = ()
    genres_all: tuple[tuple[str, ...], ...] = ()
    genres_none: tuple[str, ...] = ()
    platforms_any: tuple[str, ...] = ()
    availability_types: tuple[str, ...] = ()
    region: str | None = None
    content_types: tuple[str, ...] = ()
    languages_any: tuple[str, ...] = ()
    year_from: int | None = None
    year_to: int | None = None
    rating_from: float | None = None
    rating_to: float | None = None
    maturity_level: int | None = None
    people_all: tuple[PersonAsked, ...] = ()
    people_none: tuple[PersonAsked, ...] = ()
    keywords_all: tuple[str, ...] = ()
    words_none: tuple[str, ...] = ()

    @property
    def asks_nothing(self) -> bool:
        """Whether everything passes."""
        return self == _EVERYTHING

    def limited(self, limits: "ParentalLimits") -> Self:
        """This filter, narrowed by a profile's limits: a request can ask for less than they allow, never for more."""
        levels = [level for level in (self.maturity_level, limits.maturity_level) if level is not None]
        return replace(
            self,
            maturity_level=min(levels, default=None),
            genres_none=tuple(dict.fromkeys((*self.genres_none, *limits.blocked_genres))),
        )

    def narrowed(self, by: "SearchFilter") -> Self:
        """This filter and what a query says itself.

        Where both name values of one kind, or spans that exclude each other, this one holds: who sets a filter means it.
        """
        first, last = _both(self.year_from, by.year_from, self.year_to, by.year_to)
        lowest, highest = _both(self.rating_from, by.rating_from, self.rating_to, by.rating_to)
        return replace(
            self,
            genres_all=self.genres_all + by.genres_all,
            genres_none=tuple(dict.fromkeys(self.genres_none + by.genres_none)),
            platforms_any=self.platforms_any or by.platforms_any,
            availability_types=self.availability_types or by.availability_types,
            content_types=self.content_types or by.content_types,
            languages_any=self.languages_any or by.languages_any,
            year_from=first,
            year_to=last,
            rating_from=lowest,
            rating_to=highest,
            people_all=self.people_all + by.people_all,
            people_none=self.people_none + by.people_none,
            keywords_all=self.keywords_all + by.keywords_all,
            words_none=self.words_none + by.words_none,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentalLimits:
    """What a profile may see."""

    maturity_level: int | None = None
    blocked_genres: tuple[str, ...] = ()

    @property
    def allow_everything(self) -> bool:
        """Whether there are none."""
        return self.maturity_level is None and not self.blocked_genres

    def allow(self, maturity_rating: str | None, genres: Collection[str]) -> bool:
        """Whether a content of this rating and these genres may be seen."""
        level = MATURITY_LEVELS.get(maturity_rating or "")
        rated_well = self.maturity_level is None or (level is not None and level <= self.maturity_level)
        return rated_well and not set(self.blocked_genres).intersection(genres)


def _both(from_a: N | None, from_b: N | None, to_a: N | None, to_b: N | None) -> tuple[N | None, N | None]:
    """The span that two spans share; the first of them if they share none."""
    low = max((one for one in (from_a, from_b) if one is not None), default=None)
    high = min((one for one in (to_a, to_b) if one is not None), default=None)
    return (from_a, to_a) if low is not None and high is not None and low > high else (low, high)


_EVERYTHING: Final = SearchFilter()
