"""Counters of this process alone: the same rules while Redis is away, and for rules that are kept in memory.

The formulas are those of the script in `store`; a property test holds the two, and a model that counts in the plainest
way, together.
"""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Counter

from media_gateway.core.limiting.rules import Charge, Decision, Kind, Receipt, Rule, Standing
from media_gateway.core.limiting.store import BUSY_RETRY_US, LEASE_US

_forgotten = Counter(
    "mgw_ratelimit_evicted_total", "Subjects forgotten because a rule in memory had too many", ["rule"]
)


@dataclass(frozen=True, slots=True)
class View:
    """What a count says at a moment: free units, microseconds until more is free, and until the request passes."""

    free: int
    reset_us: int
    retry_us: int


class Count(Protocol):
    """The count of one subject under one rule."""

    def view(self, now: int) -> View:
        """Judge a request of the rule's cost; changes nothing that counts."""

    def charge(self, now: int, lease: str) -> None:
        """Count a request that was let through."""

    def give_back(self, charged_at: int, lease: str) -> None:
        """Take a charge back."""


class LogCount:
    """The moments of a sliding window."""

    def __init__(self, limit: int, window_us: int, cost: int) -> None:
        self._limit, self._window, self._cost = limit, window_us, cost
        self._moments: deque[int] = deque()

    def view(self, now: int) -> View:
        """See `Count`."""
        moments = self._moments
        while moments and moments[0] <= now - self._window:
            moments.popleft()
        free = self._limit - len(moments)
        reset = moments[0] + self._window - now if moments else self._window
        if free >= self._cost:
            return View(free, reset, 0)
        return View(free, reset, moments[self._cost - free - 1] + self._window - now)

    def charge(self, now: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        self._moments.extend([now] * self._cost)

    def give_back(self, charged_at: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        for _ in range(min(self._cost, self._moments.count(charged_at))):
            self._moments.remove(charged_at)


class WindowCount:
    """The counts of this window of the clock and, unless windows are fixed, of the last one."""

    def __init__(self, limit: int, window_us: int, cost: int, *, fixed: bool) -> None:
        self._limit, self._window, self._cost, self._fixed = limit, window_us, cost, fixed
        self._index = self._current = self._last = 0

    def _turn(self, now: int) -> int:
        index, passed = divmod(now, self._window)
        if index != self._index:
            self._last = self._current if index == self._index + 1 and not self._fixed else 0
            self._index, self._current = index, 0
        return passed

    def view(self, now: int) -> View:
        """See `Count`."""
        passed = self._turn(now)
        window, limit, cost = self._window, self._limit, self._cost
        current, last = self._current, self._last
        free = math.floor(limit - current - last * (window - passed) / window)
        if free >= cost:
            return View(free, window - passed, 0)
        if self._fixed:
            retry = window - passed
        elif current + cost <= limit:
            retry = math.ceil(window - (limit - cost - current) * window / last - passed) + 1
        else:
            retry = math.ceil(window - passed + max(0.0, window - (limit - cost) * window / current)) + 1
        return View(free, window - passed, retry)

    def charge(self, now: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        self._turn(now)
        self._current += self._cost

    def give_back(self, charged_at: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        index = charged_at // self._window
        if index == self._index:
            self._current = max(0, self._current - self._cost)
        elif index == self._index - 1:
            self._last = max(0, self._last - self._cost)


class RateCount:
    """The theoretical arrival time of GCRA."""

    def __init__(self, limit: int, window_us: int, burst: int, cost: int) -> None:
        self._step = window_us / limit
        self._burst, self._cost = burst, cost
        self._arrival = 0.0

    def view(self, now: int) -> View:
        """See `Count`."""
        step, ahead = self._step, max(0.0, self._arrival - now)
        # Half a microsecond for rounding, no more than clocks tell.
        free = min(self._burst, math.floor(self._burst - (ahead - 0.5) / step))
        reset = math.ceil(ahead - (self._burst - free - 1) * step)
        if free >= self._cost:
            return View(free, reset, 0)
        return View(free, reset, math.ceil(ahead - (self._burst - self._cost) * step))

    def charge(self, now: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        self._arrival = max(self._arrival, float(now)) + self._cost * self._step

    def give_back(self, charged_at: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        self._arrival -= self._cost * self._step


class LeaseCount:
    """Requests in progress."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._leases: dict[str, int] = {}

    def view(self, now: int) -> View:
        """See `Count`."""
        self._leases = {lease: ends for lease, ends in self._leases.items() if ends > now}
        free = self._limit - len(self._leases)
        return View(free, 0, 0 if free > 0 else BUSY_RETRY_US)

    def charge(self, now: int, lease: str) -> None:
        """See `Count`."""
        self._leases[lease] = now + LEASE_US

    def give_back(self, charged_at: int, lease: str) -> None:  # noqa: ARG002 - of `Count`
        """See `Count`."""
        self._leases.pop(lease, None)

    def renew(self, now: int, lease: str) -> None:
        """Let a lease count on."""
        if lease in self._leases:
            self._leases[lease] = now + LEASE_US


class LocalCounters:
    """Judges charges by counters of this process.

    Parameters
    ----------
    clock
        Microseconds; any beginning.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1000) -> None:
        self._clock = clock
        self._counts: dict[str, OrderedDict[str, Count]] = {}

    def decide(self, charges: Sequence[Charge], lease: str) -> Decision:
        """Check all, then charge all or none, as `CounterStore.decide`."""
        now = self._clock()
        counts = [self._count(charge) for charge in charges]
        views = [count.view(now) for count in counts]
        passes = [view.free >= c.rule.cost for c, view in zip(charges, views, strict=True)]
        admitted = all(passed or not c.rule.enforced for c, passed in zip(charges, passes, strict=True))
        standings, charged = [], []
        for charge, count, view, passed in zip(charges, counts, views, passes, strict=True):
            free = view.free
            if admitted and passed:
                count.charge(now, lease)
                free -= charge.rule.cost
                charged.append(charge)
            standings.append(Standing(charge.rule, passed, max(0, free), view.reset_us, view.retry_us))
        receipt = Receipt(tuple(charged), now, lease, here=True)
        return Decision(admitted, tuple(standings), (receipt,) if charged else ())

    def give_back(self, receipt: Receipt) -> None:
        """Take charges of an admitted request back, leases among them."""
        for charge in receipt.charges:
            self._count(charge).give_back(receipt.charged_at_us, receipt.lease)

    def renew(self, receipt: Receipt) -> None:
        """Let the leases of a long request count on."""
        for charge in receipt.charges:
            count = self._count(charge)
            if isinstance(count, LeaseCount):
                count.renew(self._clock(), receipt.lease)

    def _count(self, charge: Charge) -> Count:
        rule = charge.rule
        counts = self._counts.setdefault(rule.name, OrderedDict())
        found = counts.get(charge.key)
        if found is None:
            found = counts[charge.key] = _new_count(rule)
            while len(counts) > rule.max_keys:
                counts.popitem(last=False)
                _forgotten.labels(rule.name).inc()
        else:
            counts.move_to_end(charge.key)
        return found


def _new_count(rule: Rule) -> Count:
    limit, burst = rule.share()
    match rule.kind:
        case Kind.LOG:
            return LogCount(limit, rule.window_us, rule.cost)
        case Kind.COUNTER | Kind.FIXED:
            return WindowCount(limit, rule.window_us, rule.cost, fixed=rule.kind is Kind.FIXED)
        case Kind.GCRA:
            return RateCount(limit, rule.window_us, burst, rule.cost)
        case Kind.CONCURRENCY:
            return LeaseCount(limit)
