"""What is like a content: near in meaning, and of the same people, genres, keywords or series. Pure scoring.

Called by the catalogue service, which finds the candidates by their vectors.
"""

from collections.abc import Iterable
from typing import Final

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.text_index.analysis import fold, loose, series_keys

SHARED: Final = {"series": 0.30, "director": 0.12, "genres": 0.18, "keywords": 0.12, "cast": 0.08}
"""What each thing in common adds to the similarity of meaning, which itself weighs `MEANING`; all of them make 1."""

MEANING: Final = 0.20
"""Weight of the cosine similarity of two contents' vectors; see `SHARED`."""

NAMED: Final = 2
"""Names or keywords a reason gives at most."""


def alike(one: IndexedContent, other: IndexedContent, similarity: float) -> tuple[float, tuple[str, ...]]:
    """How much a content is like another, and why.

    Parameters
    ----------
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
        "genres": _jaccard(one.genres, other.genres),
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


def _jaccard(one: Iterable[str], other: Iterable[str]) -> float:
    first, second = set(one), set(other)
    return len(first & second) / len(first | second) if first or second else 0.0
