"""One order out of the legs' answers. Pure; called by the search service.

Certain matches (a whole title, a person, a kind of film) come first, as certain as they are. The rest is ordered by a
weighted sum of the legs' scores, each leg's own scale brought to 0 to 1, or by reciprocal ranks. Weights depend on what
kind of query it is: a title is best known by its letters, a description by its words and its meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from media_gateway.discovery.legs import Candidate
from media_gateway.discovery.ranking import Variant
from media_gateway.discovery.text_index import QueryText

TITLE_WORDS: Final = 5
"""A query of at most so many words is taken for a title (or names, or a kind): 95 % of film titles are no longer."""

TITLE_LIKENESS: Final = 0.8
"""A longer query is taken for a title, too, if one is so much like it."""

UNCERTAIN: Final = 0.85
"""Relevance of the best match that is not certain: less than that of any certain one."""


class QueryClass(StrEnum):
    """What a query seems to be."""

    TITLE_LIKE = "title_like"
    DESCRIPTIVE = "descriptive"


@dataclass(frozen=True, slots=True)
class Fused:
    """A content in the common order.

    Attributes
    ----------
    relevance : float
        0 to 1, never rising down the order.
    scores : Mapping[str, float]
        By leg, what it says of the content: the text leg from its worst candidate (0) to its best (1), the others the
        likeness of titles and the cosine similarity as they are.
    features : Mapping[str, float]
        What the re-ranker went by; empty of a content that it did not look at.
    """

    content_id: UUID
    relevance: float
    scores: Mapping[str, float]
    features: Mapping[str, float] = field(default_factory=dict)


def class_of(query: QueryText, similar: Sequence[Candidate]) -> QueryClass:
    """What a query seems to be, by its length and by the titles most like it."""
    looks_like_title = bool(similar) and similar[0].score >= TITLE_LIKENESS
    short = len(query.words) <= TITLE_WORDS
    return QueryClass.TITLE_LIKE if short or looks_like_title else QueryClass.DESCRIPTIVE


def fuse(
    answers: Mapping[str, Sequence[Candidate]], query_class: QueryClass, variant: Variant
) -> list[Fused]:
    """All candidates, best first.

    Parameters
    ----------
    answers
        Candidates by leg, each leg's best first; a leg that failed is absent.
    variant
        Whether scores are added up or reciprocal ranks (Cormack, Clarke and Büttcher 2009), and with which weights.
    """
    legs = variant.weights.title_like if query_class is QueryClass.TITLE_LIKE else variant.weights.descriptive
    weights: dict[str, float] = dict(legs)
    # By name, so that the text leg is first: of equals its order holds, which ends with popularity and the id.
    named = sorted(answers.items())
    ids = list(dict.fromkeys(one.content_id for _, candidates in named for one in candidates))
    # Places stand for ids from here on: an id takes long to look up.
    places = {content_id: place for place, content_id in enumerate(ids)}
    sums = [0.0] * len(places)
    shown: list[dict[str, float]] = [{} for _ in places]
    for name, candidates in named:
        weight, scores = weights.get(name, 0.0), _scores(name, candidates)
        parts = scores if variant.fusion == "minmax" else _reciprocal_ranks(len(candidates), variant.rrf_k)
        for one, score, part in zip(candidates, scores, parts, strict=True):
            place = places[one.content_id]
            sums[place] += weight * part
            shown[place][name] = one.score if name == "vector" else score
    certain = [one.certain for one in answers.get("text", ()) if one.certain is not None]
    # The certain ones are the first of the text leg, so the first places are theirs.
    rest = sorted(range(len(certain), len(places)), key=lambda place: -sums[place])
    # Sums of reciprocal ranks mean nothing by themselves; the best gets what a perfect sum of scores would.
    full = 1.0 if variant.fusion == "minmax" else max(sums, default=0.0) or 1.0
    return [Fused(ids[place], round(certain[place], 4), shown[place]) for place in range(len(certain))] + [
        Fused(ids[place], round(UNCERTAIN * sums[place] / full, 4), shown[place]) for place in rest
    ]


def _scores(name: str, candidates: Sequence[Candidate]) -> list[float]:
    """A leg's scores on the scale 0 to 1, one a candidate.

    Word scores begin at 0 by their nature; stretching what lies between the worst and the best candidate would make much of
    small differences (Bruch, Gai and Ingber 2023, theoretical min-max). Similarities lie close together and have no
    such beginning, so they are stretched. The likeness of titles is on the scale already.
    """
    if name == "title" or not candidates:
        return [one.score for one in candidates]
    # Certain matches stand above the scale: beside them all others would be equally poor.
    plain = [one.score for one in candidates if one.certain is None] or [0.0]
    low = min(plain) if name == "vector" else 0.0
    span = max(plain) - low
    return [1.0 if one.certain is not None or not span else (one.score - low) / span for one in candidates]


def _reciprocal_ranks(count: int, k: int) -> list[float]:
    return [1.0 / (k + rank) for rank in range(1, count + 1)]
