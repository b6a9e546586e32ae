"""Counts that fade with time, and how far a count is above what is usual. Pure.

An event of weight w at time t counts w · 2^(-(now - t) / h) at the half-life h. Forward decay (Cormode, Shkapenyuk,
Srivastava and Xu, "Forward decay: a practical time decay model for streaming systems", ICDE 2009, section III) splits the
exponent at a landmark L that never moves: 2^((t - L) / h) · 2^(-(now - L) / h). The first factor does not depend on now,
so the sum over a content's events is kept of it alone. The sum takes an event in one addition whatever the order in which
events come, and contents ordered by their sums are ordered by their decayed counts at any time.

Such sums grow beyond any number; the paper moves the landmark now and then and rewrites them all. Here the binary
logarithm of a sum is kept, the *level*: it grows by one in a half-life, and nothing is ever rewritten.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Self

LANDMARK: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Where levels are counted from. Kept in every stored level: never to be changed."""


class Window(StrEnum):
    """How far back activity counts."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


HALF_LIVES: Final[Mapping[Window, timedelta]] = {
    Window.DAY: timedelta(hours=12),
    Window.WEEK: timedelta(days=3.5),
    Window.MONTH: timedelta(days=15),
}
"""Half a window's length each: of a steady stream three quarters of a count are from within the window, and what is a
window old counts a quarter. A choice; known windows end sharply instead, and lists jump when a busy hour drops out."""

USUAL_HALF_LIFE: Final = timedelta(days=45)
"""Half-life of what is usual for a content: half a quarter of a year, three times the longest window's. A choice."""

_HALF_LIVES: Final = (*HALF_LIVES.values(), USUAL_HALF_LIFE)


class Levels(NamedTuple):
    """The levels of one content in one region: of each window, in the order of `Window`, and of what is usual."""

    day: float
    week: float
    month: float
    usual: float

    @classmethod
    def of(cls, weight: float, at: datetime) -> Self:
        """Those of a single event; its weight is above 0."""
        return cls(*(level(weight, at, half_life) for half_life in _HALF_LIVES))

    def plus(self, other: Self) -> Self:
        """Those of all events of both."""
        return type(self)(*map(added, self, other))


def exponent(at: datetime, half_life: timedelta) -> float:
    """The level of an event of weight 1: half-lives since the landmark."""
    return (at - LANDMARK) / half_life


def level(weight: float, at: datetime, half_life: timedelta) -> float:
    """The level of a single event; its weight is above 0."""
    return math.log2(weight) + exponent(at, half_life)


def added(one: float, other: float) -> float:
    """The level of two levels' events together: log2(2^one + 2^other), without leaving the logarithm for large numbers."""
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp2(low - high)) / math.log(2)


def count(of_level: float, now: datetime, half_life: timedelta) -> float:
    """The decayed count at a moment."""
    return math.exp2(of_level - exponent(now, half_life))


def expected(usual_count: float, window: Window) -> float:
    """The decayed count that a window would have if a content were as active as usual.

    A steady stream of r events a day has the decayed count r · h / ln 2 once it has lasted for several half-lives h, so
    counts of one stream with two half-lives are to each other as these.
    """
    return usual_count * (HALF_LIVES[window] / USUAL_HALF_LIFE)


def surge(counted: float, usual_count: float, window: Window) -> float:
    """How far activity is above what is usual for the content, in standard deviations; 0 if it is below.

    The Pearson residual of a Poisson count, (O - E) / sqrt(E) (McCullagh and Nelder, "Generalized linear models", 1989,
    section 2.4.1), with one count more under the root: what nobody has touched for months has no usual activity, and
    without that one a single click would be a surge without bound.
    """
    usual = expected(usual_count, window)
    return max(0.0, counted - usual) / math.sqrt(usual + 1.0)
