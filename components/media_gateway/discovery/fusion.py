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
    scores = {name: _scores(name, candidates) for name, candidates in answers.items()}
    shown = scores | {"vector": {one.content_id: one.score for one in answers.get("vector", ())}}
    parts = (
        scores
        if variant.fusion == "minmax"
        else {name: _reciprocal_ranks(candidates, variant.rrf_k) for name, candidates in answers.items()}
    )
    # Of equals the first stays first: the text leg's order, which ends with popularity and the id.
    ids = dict.fromkeys(one.content_id for candidates in answers.values() for one in candidates)
    sums = {
        content_id: sum(weights.get(name, 0.0) * part.get(content_id, 0.0) for name, part in parts.items())
        for content_id in ids
    }
    certain = {one.content_id: one for one in answers.get("text", ()) if one.certain is not None}
    ordered = [*certain, *sorted((one for one in ids if one not in certain), key=lambda one: -sums[one])]
    # Sums of reciprocal ranks mean nothing by themselves; the best gets what a perfect sum of scores would.
    full = 1.0 if variant.fusion == "minmax" else max(sums.values(), default=0.0) or 1.0
    return [
        Fused(
            content_id,
            round(_relevance(certain.get(content_id), sums[content_id] / full), 4),
            {name: given[content_id] for name, given in shown.items() if content_id in given},
        )
        for content_id in ordered
    ]


def _relevance(sure: Candidate | None, share: float) -> float:
    return sure.certain if sure is not None and sure.certain is not None else UNCERTAIN * share


def _scores(name: str, candidates: Sequence[Candidate]) -> dict[UUID, float]:
    """A leg's scores on the scale 0 to 1.

    Word scores begin at 0 by their nature; stretching what lies between the worst and the best candidate would make much of
    small differences (Bruch, Gai and Ingber 2023, theoretical min-max). Similarities lie close together and have no
    such beginning, so they are stretched. The likeness of titles is on the scale already.
    """
    if name == "title" or not candidates:
        return {one.content_id: one.score for one in candidates}
    # Certain matches stand above the scale: beside them all others would be equally poor.
    plain = [one.score for one in candidates if one.certain is None] or [0.0]
    low = min(plain) if name == "vector" else 0.0
    span = max(plain) - low
    return {
        one.content_id: 1.0 if one.certain is not None or not span else (one.score - low) / span
        for one in candidates
    }


def _reciprocal_ranks(candidates: Sequence[Candidate], k: int) -> dict[UUID, float]:
    return {one.content_id: 1.0 / (k + rank) for rank, one in enumerate(candidates, start=1)}
