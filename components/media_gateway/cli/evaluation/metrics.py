"""Measures of one ranked answer. Pure functions; nothing here knows a query, a film or a service.

Every function takes ``gains``: for each result in its order the grade of the right answer it is, 0 for a wrong one. A
right answer counts once; `matching` sees to that.
"""

import math
from collections.abc import Sequence

CUT = 10
"""Results a person looks at: how deep all measures but recall look."""

PRECISION = f"precision@{CUT}"


def names(depth: int) -> tuple[str, ...]:
    """Names of the measures at a depth, in the order in which they are shown. All are 0 to 1, the larger the better."""
    return (f"ndcg@{CUT}", f"mrr@{CUT}", PRECISION, f"recall@{depth}")


def measures(gains: Sequence[float], grades: Sequence[float], depth: int) -> dict[str, float]:
    """The measures of an answer that apply to its query.

    Parameters
    ----------
    gains
        Of the results, at most ``depth`` of them.
    grades
        Of all right answers, found or not; at least one, all above 0.
    depth
        Results that were asked for; recall looks that deep.

    Returns
    -------
    dict[str, float]
        By `names`. Precision is left out where there are fewer right answers than it looks at: it could not reach 1.
    """
    values = (
        ndcg(gains, grades, CUT),
        reciprocal_rank(gains, CUT),
        precision(gains, CUT),
        recall(gains, len(grades), depth),
    )
    found = dict(zip(names(depth), values, strict=True))
    if len(grades) < CUT:
        del found[PRECISION]
    return found


def reciprocal_rank(gains: Sequence[float], cut: int) -> float:
    """One over the place of the first right answer, 0 if none is among the first ``cut`` results.

    Its mean over queries is MRR@cut (Voorhees, TREC-8 question answering track, 1999). Grades play no part.
    """
    return next((1.0 / place for place, gain in enumerate(gains[:cut], 1) if gain > 0), 0.0)


def ndcg(gains: Sequence[float], grades: Sequence[float], cut: int) -> float:
    """Normalised discounted cumulative gain of the first ``cut`` results.

    Gain is the grade itself, discount log2(1 + place), normalised by the best order of all right answers (Järvelin and
    Kekäläinen 2002, in the form of trec_eval's ``ndcg_cut``).
    """
    return _dcg(gains[:cut]) / _dcg(sorted(grades, reverse=True)[:cut])


def precision(gains: Sequence[float], cut: int) -> float:
    """Share of right answers among ``cut`` results; a result that is not there is a wrong one."""
    return sum(gain > 0 for gain in gains[:cut]) / cut


def recall(gains: Sequence[float], right_answers: int, cut: int) -> float:
    """Share of the right answers that are among the first ``cut`` results, or share of ``cut`` if there are more.

    The second case is the capped recall of BEIR (Thakur et al. 2021): nobody could find 300 films in 100 results.
    """
    return sum(gain > 0 for gain in gains[:cut]) / min(right_answers, cut)


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(1 + place) for place, gain in enumerate(gains, 1))
