"""What is like a content: near in meaning, and of the same people, genres, keywords or series. Pure scoring.

Called by the catalogue service, which finds the candidates by their vectors.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.text_index.analysis import fold, loose, series_keys

SHARED: Final = {
    "series": 0.24,
    "director": 0.16,
    "genres": 0.28,
    "time": 0.13,
    "cast": 0.05,
    "keywords": 0.03,
}
"""What each thing in common adds to the similarity of meaning, which itself weighs `MEANING`; all of them make 1. Chosen on
the judged queries of the form "movies like X"; a third more or less of one moves their precision by 5 points at most."""

MEANING: Final = 0.11
"""Weight of the cosine similarity of two contents' vectors; see `SHARED`."""

FADING_YEARS: Final = 15.0
"""Years between two contents after which their being of one time counts a third (1/e)."""

NAMED: Final = 2
"""Names or keywords a reason gives at most."""


def rarities(counts: Mapping[str, int]) -> dict[str, float]:
    """How much each genre says: ``ln(1 + all / with it)``, little of drama, more of westerns (as inverse document frequency).

    Parameters
    ----------
    counts
        Contents by genre.
    """
    everything = sum(counts.values())
    return {genre: math.log(1.0 + everything / count) for genre, count in counts.items() if count}


def alike(
    one: IndexedContent, other: IndexedContent, similarity: float, rarity: Mapping[str, float]
) -> tuple[float, tuple[str, ...]]:
    """How much a content is like another, and why.

    Parameters
    ----------
    rarity
        Of genres; one that is absent counts 1.
    similarity
        Cosine similarity of their vectors, -1 to 1.

    Returns
    -------
    tuple[float, tuple[str, ...]]
        0 to 1; the reasons, strongest first, for people.
    """
    in_common = {
        "series": [other.title] if _one_series(one, other) else [],
        "director": _both(_names(one, "director"), _names(other, "director")),
        "genres": _both(one.genres, other.genres),
        "keywords": _both(one.keywords, other.keywords),
        "cast": _both(_names(one, "actor"), _names(other, "actor")),
    }
    shares = {
        "series": float(bool(in_common["series"])),
        "director": float(bool(in_common["director"])),
        "genres": _overlap(one.genres, other.genres, rarity),
        "time": _nearness(one.release_year, other.release_year),
        "keywords": min(1.0, len(in_common["keywords"]) / 3),
        "cast": min(1.0, len(in_common["cast"]) / 2),
    }
    score = MEANING * max(0.0, similarity) + sum(SHARED[name] * share for name, share in shares.items())
    reasons = ["of the same series"] if in_common["series"] else []
    reasons += [
        f"{name}: {', '.join(found[:NAMED]).replace('_', ' ')}"
        for name, found in in_common.items()
        if found and name != "series"
    ]
    return round(score, 4), tuple(reasons or ["about similar things"])


def _one_series(one: IndexedContent, other: IndexedContent) -> bool:
    """Whether one title continues the other, or both continue a third."""
    first, second = ({loose(fold(c.title)), *series_keys(c.title)} for c in (one, other))
    return not first.isdisjoint(second)


def _names(content: IndexedContent, role: str) -> list[str]:
    return [person.name for person in content.people if person.role == role]


def _both(one: Iterable[str], other: Iterable[str]) -> list[str]:
    known = set(other)
    return [value for value in one if value in known]


def _overlap(one: Iterable[str], other: Iterable[str], rarity: Mapping[str, float]) -> float:
    """What both have of what either has, weighed (Jaccard; Ruzicka 1958)."""
    first, second = set(one), set(other)
    either = sum(rarity.get(value, 1.0) for value in first | second)
    return sum(rarity.get(value, 1.0) for value in first & second) / either if either else 0.0


def _nearness(one: int | None, other: int | None) -> float:
    return 0.0 if one is None or other is None else math.exp(-abs(one - other) / FADING_YEARS)
