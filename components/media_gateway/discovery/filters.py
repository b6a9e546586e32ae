"""What a result must fulfil, in the words of the catalogue. Every leg gets the same filter; the text index is its judge.

Made by the schemas from a request, narrowed by the understanding of a query and by a profile's parental limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

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
    """

    genres_any: tuple[str, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentalLimits:
    """What a profile may see."""

    maturity_level: int | None = None
    blocked_genres: tuple[str, ...] = ()


_EVERYTHING: Final = SearchFilter()
