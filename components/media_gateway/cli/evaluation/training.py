"""Trains the re-ranker of descriptions from judged queries. Called by the command; prints nothing.

A running search tells the features of what it re-ranks (``explain``); which of these contents are right answers is judged
here, as everywhere in the harness. So any catalogue and any judged queries will do, and the features that are learned from
are those that are served.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from media_gateway.cli.evaluation.asking import Answered, Target, ask_all
from media_gateway.cli.evaluation.bootstrap import Difference, paired_bootstrap
from media_gateway.cli.evaluation.matching import Result, fold, gains_of
from media_gateway.cli.evaluation.metrics import CUT, ndcg
from media_gateway.cli.evaluation.pairs import JudgedQuery, Pairs
from media_gateway.core.errors import InvalidInputError

LEAST_QUERIES = 50
"""Queries to learn from, at the least: ten for each of five weights."""

RIDGE = 0.01
"""Pull of the standardised weights towards 0; ten times as much or a tenth moves NDCG@10 by less than .005."""

STEPS, RATE = 300, 0.1
"""Of gradient descent; the loss is convex and stands still before that."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """A query with the contents that were re-ranked for it, in the order in which they came.

    Attributes
    ----------
    features : NDArray
        Contents by features.
    gains : NDArray
        Of the contents: the grade of the right answer that each is, else 0.
    after : tuple[float, ...]
        Gains of what came behind them.
    """

    query: JudgedQuery
    features: Floats
    gains: Floats
    before: tuple[float, ...]
    after: tuple[float, ...]

    def ndcg(self, order: Sequence[int]) -> float:
        """NDCG@10 of the answer with the re-ranked contents in this order."""
        gains = [*self.before, *(float(self.gains[at]) for at in order), *self.after]
        return ndcg(gains, [one.grade for one in self.query.relevant], CUT)


@dataclass(frozen=True, slots=True)
class Half:
    """How one half of the queries is answered: NDCG@10 as they came, with the new weights, and the difference."""

    queries: int
    came: float
    trained: float
    difference: Difference


@dataclass(frozen=True, slots=True)
class Training:
    """The weights, by feature, and what they do on the half they were learned from and on the other."""

    weights: Mapping[str, float]
    learned_from: Half
    held_out: Half


async def gather(
    pairs: Pairs, target: Target, on_answer: Callable[[], None]
) -> tuple[list[str], list[Example]]:
    """Names of the features, and the examples of all queries that were re-ranked, in the order of the file.

    Raises
    ------
    InvalidInputError
        The search re-ranks none of the queries, or tells no features.
    UnavailableError
        As `measure`.
    """
    answered: list[Answered] = []

    def keep(one: Answered) -> None:
        answered.append(one)
        on_answer()

    await ask_all(pairs, target, keep)
    answered.sort(key=lambda one: one.query.line)
    names = next(
        (sorted(hit.ranking_features) for one in answered for hit in one.results if hit.ranking_features),
        None,
    )
    if names is None:
        raise InvalidInputError(
            f"{pairs.path}: the search re-ranks none of these queries; are they descriptions?"
        )
    examples = (_example(one, names) for one in answered)
    return names, [one for one in examples if one is not None]


def train(names: Sequence[str], examples: Sequence[Example]) -> Training:
    """Learn weights from one half of the queries and try them on the other. The same examples give the same weights.

    Raises
    ------
    InvalidInputError
        Too few queries have a right answer among what is re-ranked.
    """
    learned = [one for one in examples if not is_held_out(one.query)]
    held_out = [one for one in examples if is_held_out(one.query)]
    useful = [one for one in learned if one.gains.any()]
    if len(useful) < LEAST_QUERIES or not held_out:
        raise InvalidInputError(
            f"{len(useful)} queries to learn from have a right answer among what is re-ranked; "
            f"at least {LEAST_QUERIES} are needed, and others to try the weights on"
        )
    weights = _weights(useful)
    return Training(
        {name: float(f"{weight:.4g}") for name, weight in zip(names, weights, strict=True)},
        _half(learned, weights),
        _half(held_out, weights),
    )


def is_held_out(query: JudgedQuery) -> bool:
    """Whether a query is in the half that weights are tried on, by a hash of its first right answer's title or id.

    So all queries for one film are on one side, and a query stays on its side when others come and go.
    """
    first = query.relevant[0]
    name = fold(first.title) if first.title is not None else str(first.id)
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def write_model(path: Path, training: Training, pairs: Pairs) -> None:
    """Write what discovery reads as `reranker_path`.

    Raises
    ------
    InvalidInputError
        The file can't be written.
    """
    model: dict[str, Any] = {
        "weights": dict(training.weights),
        "trained_on": {
            "pairs": pairs.path.name,
            "pairs_sha256": pairs.sha256,
            "queries": training.learned_from.queries,
            "ndcg@10": round(training.learned_from.trained, 4),
            "held_out_queries": training.held_out.queries,
            "held_out_ndcg@10": round(training.held_out.trained, 4),
        },
    }
    try:
        path.write_bytes(orjson.dumps(model, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise InvalidInputError(
            f"--write: {path}: {(error.strerror or 'it can not be written').lower()}"
        ) from error


def _example(one: Answered, names: Sequence[str]) -> Example | None:
    cards = [hit.content for hit in one.results]
    gains = gains_of([Result(card.id, card.title, card.release_year) for card in cards], one.query.relevant)
    places = [place for place, hit in enumerate(one.results) if hit.ranking_features]
    if not places:
        return None
    rows = [one.results[place].ranking_features or {} for place in places]
    return Example(
        query=one.query,
        features=np.array([[row[name] for name in names] for row in rows]),
        gains=np.array([gains[place] for place in places]),
        before=tuple(gains[: places[0]]),
        after=tuple(gains[places[-1] + 1 :]),
    )


def _weights(examples: Sequence[Example]) -> Floats:
    """Weights that make right answers likely under a softmax over the contents of each query.

    The listwise loss of ListNet (Cao et al. 2007) with the gains as target, an L2 penalty on the weights of standardised
    features, and full-batch Adam (Kingma and Ba 2015) from zero: no chance takes part.
    """
    rows = np.concatenate([one.features for one in examples])
    spread = rows.std(axis=0) + 1e-9
    lists = [(one.features / spread, one.gains / one.gains.sum()) for one in examples]
    weights = first = second = np.zeros(rows.shape[1])
    for step in range(1, STEPS + 1):
        slope = RIDGE * weights
        for features, target in lists:
            scores = features @ weights
            likely = np.exp(scores - scores.max())
            slope = slope + (likely / likely.sum() - target) @ features / len(lists)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        weights = weights - RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    trained: Floats = weights / spread
    return trained


def _half(examples: Sequence[Example], weights: Floats) -> Half:
    came = np.array([one.ndcg(range(len(one.gains))) for one in examples])
    trained = np.array(
        [
            one.ndcg([int(at) for at in np.argsort(-(one.features @ weights), kind="stable")])
            for one in examples
        ]
    )
    return Half(len(examples), float(came.mean()), float(trained.mean()), paired_bootstrap(trained - came))
