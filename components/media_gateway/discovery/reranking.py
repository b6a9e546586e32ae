"""Re-ranks what a description has found by how it matches, with a small learned model. Called by the search service.

The legs say how many words match and how near the meaning is. The film that is described differs from others by where its
words stand: together in one passage of its overview, side by side as in the query, with the people of the query. A linear
model weighs these; `media-gateway eval train-reranker` makes it from judged queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from media_gateway.core.errors import InvalidInputError
from media_gateway.core.validation import message_of
from media_gateway.discovery.fusion import UNCERTAIN, Fused
from media_gateway.discovery.text_index import (
    DESCRIPTION_WORDS,
    QueryText,
    TextIndex,
    Wording,
    decade_of,
    stems,
)

DEPTH: Final = 50
"""Contents that are ordered anew. Of the films described that fusion finds at all, 92 in 100 are among them, and twice as
many gain nothing."""

SIDE_BY_SIDE: Final = 3
"""Words apart, at most, that two neighbours of the query may be in an overview: an article and an adjective between them."""

PASSAGE_WORDS: Final = 30
"""Length of the passage whose words are counted together: one or two sentences, as a plot is summed up in."""

MOST_NAMES: Final = 2
"""Names from which on more say nothing new."""

SHIPPED: Final = Path(__file__).with_name("reranker.json")
"""The model that is part of the package."""


class Features(NamedTuple):
    """How a content matches a description. All but `names` are 0 to 1; shares are of words weighed by their rarity.

    Attributes
    ----------
    meaning : float
        Cosine similarity above that of the farthest candidate.
    coverage : float
        Share of the query's words that the content has anywhere.
    names : float
        People of the content whose full name the query holds, at most `MOST_NAMES`.
    adjacent : float
        Share of the query's neighbouring words that also stand beside each other in the overview.
    passage : float
        Share of the query's words in the best passage of the overview.
    """

    meaning: float
    coverage: float
    names: float
    adjacent: float
    passage: float


class RerankingModel(BaseModel):
    """A linear model: what each feature counts.

    Attributes
    ----------
    weights : dict[str, float]
        By feature; exactly those of `Features`.
    trained_on : dict
        Where the weights come from, for people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weights: Annotated[dict[str, float], Field(min_length=1)]
    trained_on: dict[str, Any]

    @field_validator("weights")
    @classmethod
    def _of_these_features(cls, value: dict[str, float]) -> dict[str, float]:
        if value.keys() != set(Features._fields):
            raise ValueError(
                f"must be of the features {', '.join(Features._fields)}; these are of {', '.join(sorted(value))}"
            )
        return value

    @classmethod
    def read(cls, path: Path) -> Self:
        """The model of a file.

        Raises
        ------
        InvalidInputError
            The file can't be read, is no model, or is one of other features.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InvalidInputError(f"{path}: {(error.strerror or 'it can not be read').lower()}") from error
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, problem["loc"]))
            raise InvalidInputError(
                f"{path}: {where + ': ' if where else ''}{message_of(problem)}"
            ) from error

    def score(self, features: Features) -> float:
        """How well a content matches, beside others of the same search."""
        return sum(self.weights[name] * value for name, value in zip(features._fields, features, strict=True))


@dataclass(frozen=True, slots=True)
class Reranker:
    """Orders the first results of a description anew."""

    index: TextIndex
    model: RerankingModel

    def reranked(self, query: QueryText, fused: Sequence[Fused]) -> list[Fused]:
        """All of them; a query of few words is left as it is.

        Certain ones stay first, and those behind the first `DEPTH` others stay where they are.
        A place keeps its relevance, so that it never rises down the order. Equals keep their order. Reads the index: call
        it beside the event loop.
        """
        if len(query.terms) < DESCRIPTION_WORDS:
            return list(fused)
        start = sum(one.relevance > UNCERTAIN for one in fused)
        first = fused[start : start + DEPTH]
        wordings = self.index.wordings([one.content_id for one in first])
        asked = Asked.of(query, self.index.rarities(query.terms))
        lowest = min((one.scores["vector"] for one in fused if "vector" in one.scores), default=0.0)
        known = [
            asked.features(wordings.get(one.content_id, Wording()), one.scores.get("vector", lowest) - lowest)
            for one in first
        ]
        order = sorted(range(len(first)), key=lambda at: -self.model.score(known[at]))
        anew = (
            replace(first[at], relevance=place.relevance, features=known[at]._asdict())
            for at, place in zip(order, first, strict=True)
        )
        return [*fused[:start], *anew, *fused[start + DEPTH :]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A description, made ready to be looked for in many contents.

    Attributes
    ----------
    rarity : Mapping[str, float]
        Of each stem.
    terms : Mapping[str, str]
        The words as they are, by stem.
    beside : Mapping[frozenset[str], float]
        Neighbouring stems, fillers between them left out, and the rarity of both.
    """

    key: str
    rarity: Mapping[str, float]
    terms: Mapping[str, str]
    beside: Mapping[frozenset[str], float]

    @classmethod
    def of(cls, query: QueryText, rarities: Mapping[str, float]) -> Self:
        """Take a query apart, given the rarities of its terms."""
        stem = {term: decade_of(term) or "".join(stems(term)) or term for term in query.terms}
        rarity = {stem[term]: rarities[term] for term in query.terms}
        told = [stem[word] for word in query.words if word in stem]
        pairs = (frozenset(pair) for pair in pairwise(told))
        return cls(
            key=f" {query.key} ",
            rarity=rarity,
            terms={stem[term]: term for term in query.terms},
            beside={pair: sum(rarity[one] for one in pair) for pair in pairs},
        )

    def features(self, wording: Wording, meaning: float) -> Features:
        """How a content of this wording matches."""
        hits = [(at, stem) for at, stem in enumerate(wording.overview) if stem in self.rarity]
        found = {stem for _, stem in hits}
        found.update(stem for stem in wording.facts if stem in self.rarity)
        people = f" {' '.join(wording.names)} "
        found.update(stem for stem, term in self.terms.items() if f" {term} " in people)
        whole = sum(self.rarity.values()) or 1.0
        named = sum(" " in name and f" {name} " in self.key for name in wording.names)
        return Features(
            meaning=meaning,
            coverage=sum(self.rarity[stem] for stem in self.rarity if stem in found) / whole,
            names=float(min(named, MOST_NAMES)),
            adjacent=self._adjacent(hits),
            passage=self._best_passage(hits) / whole,
        )

    def _adjacent(self, hits: Sequence[tuple[int, str]]) -> float:
        found = set()
        for number, (at, stem) in enumerate(hits):
            for other_at, other in hits[number + 1 :]:
                if other_at - at > SIDE_BY_SIDE:
                    break
                found.add(frozenset((stem, other)))
        whole = sum(self.beside.values()) or 1.0
        # In the query's order: a sum must not depend on that of a set.
        return sum(rarity for pair, rarity in self.beside.items() if pair in found) / whole

    def _best_passage(self, hits: Sequence[tuple[int, str]]) -> float:
        """The most that the distinct stems of one passage weigh together."""
        best = weight = 0.0
        inside: dict[str, int] = {}
        first = 0
        for at, stem in hits:
            inside[stem] = inside.get(stem, 0) + 1
            weight += self.rarity[stem] if inside[stem] == 1 else 0.0
            while hits[first][0] <= at - PASSAGE_WORDS:
                gone = hits[first][1]
                inside[gone] -= 1
                weight -= self.rarity[gone] if not inside[gone] else 0.0
                first += 1
            best = max(best, weight)
        return best
