"""Counting what is among matching contents, by the index's own columns. Used by the text index only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import tantivy

FACET_VALUES: Final = 20
"""Most values of one facet, the most frequent: beyond it a list is no help."""

RATING_STEPS: Final = (5.0, 7.0, 8.0)
"""Where the classes of average ratings part: 0 to 5, 5 to 7, 7 to 8, 8 to 10."""

_COUNTS: Final = {
    "genres": {"terms": {"field": "genre", "size": FACET_VALUES}},
    "platforms": {"terms": {"field": "platform", "size": FACET_VALUES}},
    "years": {"histogram": {"field": "release_year", "interval": 10.0, "min_doc_count": 1}},
    "ratings": {
        "range": {
            "field": "rating",
            "ranges": [
                {"key": "0-5", "to": RATING_STEPS[0]},
                {"key": "5-7", "from": RATING_STEPS[0], "to": RATING_STEPS[1]},
                {"key": "7-8", "from": RATING_STEPS[1], "to": RATING_STEPS[2]},
                {"key": "8-10", "from": RATING_STEPS[2]},
            ],
        }
    },
    "total": {"value_count": {"field": "id_high"}},
}


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value and how many contents have it."""

    value: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How many contents there are, and what they are.

    Attributes
    ----------
    genres, platforms : tuple[FacetValue, ...]
        The most frequent first; platforms with an offering in effect, in any region.
    years : tuple[FacetValue, ...]
        Decades (``1980s``), the newest first.
    ratings : tuple[FacetValue, ...]
        Classes of average ratings (``7-8`` holds 7 and not 8), the best first.
    """

    total: int
    genres: tuple[FacetValue, ...]
    platforms: tuple[FacetValue, ...]
    years: tuple[FacetValue, ...]
    ratings: tuple[FacetValue, ...]


def summarised(searcher: tantivy.Searcher, asked: tantivy.Query) -> Summary:
    """Count what a query finds."""
    counted: Mapping[str, Any] = searcher.aggregate(asked, _COUNTS)
    by_count = {
        name: sorted(_values(counted[name]), key=lambda one: (-one.count, one.value))
        for name in ("genres", "platforms")
    }
    decades = [
        FacetValue(f"{int(bucket['key'])}s", int(bucket["doc_count"]))
        for bucket in counted["years"]["buckets"]
    ]
    ratings = [one for one in _values(counted["ratings"]) if one.count and "-" in one.value]
    return Summary(
        total=int(counted["total"]["value"]),
        genres=tuple(by_count["genres"]),
        platforms=tuple(by_count["platforms"]),
        years=tuple(reversed(decades[-FACET_VALUES:])),
        ratings=tuple(sorted(ratings, key=lambda one: one.value, reverse=True)),
    )


def _values(counted: Mapping[str, Any]) -> list[FacetValue]:
    return [FacetValue(str(bucket["key"]), int(bucket["doc_count"])) for bucket in counted["buckets"]]
