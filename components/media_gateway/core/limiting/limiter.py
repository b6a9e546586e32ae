"""Decides about requests: by Redis, and while that is away by what each rule says for that case.

Used by the web kit; whoever limits something that is no request (guesses, mails) uses `RateLimiter` as it is.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from uuid import uuid4

import structlog
from prometheus_client import Counter

from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.errors import DeadlineExceededError, UnavailableError
from media_gateway.core.limiting.local import LocalCounters
from media_gateway.core.limiting.rules import ADMITTED, Charge, Decision, FailureMode, Kind, Standing
from media_gateway.core.limiting.store import CounterStore

POLICY = BreakerPolicy(failures=5, error_rate=0.0, successes=1, open_ms=1_000, probes=1, window_ms=10_000)
"""Five failures in ten seconds, whatever their share: a server that hangs costs each request its whole patience."""

WARY_S = 10.0
"""How long a failure is remembered, in seconds. At other times no circuit is asked, which would cost as much as all else
that a decision does in Python."""

AWAY_RETRY_US = 1_000_000
"""Wait that a closed rule asks for when nobody knows better, in microseconds."""

_log = structlog.get_logger(__name__)
_decisions = Counter("mgw_ratelimit_decisions_total", "What rules said of requests", ["rule", "decision"])
_fallbacks = Counter(
    "mgw_ratelimit_fallback_total", "Requests that a rule could not count in Redis", ["rule", "mode"]
)


# Labels are checked and locked for at every look-up; there are few sets of them.
@lru_cache(maxsize=10_000)
def _counted(rule: str, decision: str) -> Callable[[], None]:
    return _decisions.labels(rule, decision).inc


class RateLimiter:
    """Judges all rules of a request at once and charges all or none.

    Parameters
    ----------
    store
        The shared counters.
    local
        The counters of this process; by default its own.
    """

    def __init__(self, store: CounterStore, local: LocalCounters | None = None) -> None:
        self._store = store
        self._local = local or LocalCounters()
        self._circuit = CircuitBreaker("rate limits", POLICY)
        self._wary_until_s = 0.0

    async def decide(self, charges: Sequence[Charge]) -> Decision:
        """Whether a request may go on.

        Parameters
        ----------
        charges
            Of all rules that are about it, no key twice. Those that are counted in Redis have keys of one slot.
        """
        if not charges:
            return ADMITTED
        here: list[Charge] = []
        shared: list[Charge] = []
        lease = ""
        for charge in charges:
            (here if charge.rule.in_memory else shared).append(charge)
            if charge.rule.kind is Kind.CONCURRENCY and not lease:
                lease = uuid4().hex
        decided = await self._in_redis(shared, lease) if shared else ADMITTED
        if here and decided.admitted:
            also = self._local.decide(here, lease)
            if not also.admitted:
                await self.give_back(decided)
            receipts = (*decided.receipts, *also.receipts) if also.admitted else ()
            decided = Decision(also.admitted, (*decided.standings, *also.standings), receipts)
        self._count(decided)
        return decided

    async def give_back(
        self, decided: Decision, wanted: Callable[[Charge], bool] = lambda _charge: True
    ) -> None:
        """Take charges back: those on trust from a caller who has failed to prove a name, leases at the end of a request.

        Parameters
        ----------
        wanted
            Which charges; by default all.
        """
        for whole in decided.receipts:
            receipt = whole.only(wanted)
            if not receipt.charges:
                continue
            if receipt.here:
                self._local.give_back(receipt)
                continue
            try:
                async with self._circuit.attempt():
                    await self._store.give_back(receipt)
            except (UnavailableError, DeadlineExceededError):
                _log.debug("charges could not be given back; they run out by themselves")

    async def renew(self, decided: Decision) -> None:
        """Let the leases of a long request count on; call it well within `LEASE_US`."""
        for whole in decided.receipts:
            receipt = whole.only(is_lease)
            if receipt.charges and receipt.here:
                self._local.renew(receipt)
            elif receipt.charges:
                try:
                    async with self._circuit.attempt():
                        await self._store.renew(receipt)
                except (UnavailableError, DeadlineExceededError):
                    _log.debug("a lease could not be renewed")

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()

    async def _in_redis(self, charges: Sequence[Charge], lease: str) -> Decision:
        try:
            if time.monotonic() >= self._wary_until_s:
                try:
                    return await self._store.decide(charges, lease)
                except (UnavailableError, DeadlineExceededError):
                    self._wary_until_s = time.monotonic() + WARY_S
                    async with self._circuit.attempt():
                        raise
            async with self._circuit.attempt():
                return await self._store.decide(charges, lease)
        except (UnavailableError, DeadlineExceededError) as error:
            # Also while the circuit is open, so that whoever comes after it closes again is still careful.
            self._wary_until_s = time.monotonic() + WARY_S
            return self._without_redis(charges, lease, error.retry_after_ms)

    def _without_redis(self, charges: Sequence[Charge], lease: str, back_in_ms: int | None) -> Decision:
        for charge in charges:
            _fallbacks.labels(charge.rule.name, charge.rule.failure.lower()).inc()
        closed = next(
            (c.rule for c in charges if c.rule.failure is FailureMode.CLOSED and c.rule.enforced), None
        )
        if closed is not None:
            wait_us = back_in_ms * 1000 if back_in_ms else AWAY_RETRY_US
            return Decision(admitted=False, unchecked=closed, wait_us=wait_us)
        local = [c for c in charges if c.rule.failure is FailureMode.LOCAL]
        return self._local.decide(local, lease) if local else ADMITTED

    def _count(self, decided: Decision) -> None:
        if decided.unchecked is not None:
            _counted(decided.unchecked.name, "refused")()
        for standing in decided.standings:
            _counted(standing.rule.name, _word(standing))()
            if not standing.passed and not standing.rule.enforced:
                _log.info("a dry run would refuse this request", rule=standing.rule.name)


def is_lease(charge: Charge) -> bool:
    """Whether the charge is for a request in progress."""
    return charge.rule.kind is Kind.CONCURRENCY


def _word(standing: Standing) -> str:
    if standing.passed:
        return "admitted"
    return "refused" if standing.rule.enforced else "would_refuse"
