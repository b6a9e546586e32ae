"""Whether two rankings differ by more than chance: the paired bootstrap. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
"""Ten times what Efron and Tibshirani ask for an interval's ends (1993, section 13.3): the third digit stays put."""

SEED = 20_240_607
"""Any fixed number: the same measurement gives the same interval."""

CONFIDENCE = 0.95

_AT_ONCE = 250
"""Resamples drawn together: a few megabytes for thousands of queries."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and the 95 % interval it lies in; ``low`` > 0 or ``high`` < 0 means more than chance."""

    mean: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(differences: NDArray[np.float64]) -> Difference:
    """Percentile interval of the mean of per-query differences.

    Queries are drawn with replacement, `RESAMPLES` times, each with the difference that both variants have on it
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3; paired over the queries of a test set
    as Sakai does, Evaluating Evaluation Metrics based on the Bootstrap, SIGIR 2006).

    Parameters
    ----------
    differences
        Second variant minus first, one for each query, at least one.
    """
    queries = len(differences)
    generator = np.random.default_rng(SEED)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, _AT_ONCE):
        drawn = generator.integers(queries, size=(min(_AT_ONCE, RESAMPLES - start), queries))
        means[start : start + len(drawn)] = differences[drawn].mean(axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, (tail, 100 - tail))
    return Difference(float(differences.mean()), float(low), float(high))
