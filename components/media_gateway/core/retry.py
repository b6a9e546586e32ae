"""Repeat a call that failed for a passing reason, with growing pauses and a bound on the extra load.

Tenacity runs the loop; the rules are ours: which errors are worth repeating, how long to wait, when to give up.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import structlog
from prometheus_client import Counter
from tenacity import AsyncRetrying, RetryCallState

from media_gateway.core.deadline import Deadline
from media_gateway.core.errors import MediaGatewayError

T = TypeVar("T")

JITTER_SHARE = 0.3
"""Most random extra wait, as a share of the delay. Enough to spread a crowd of clients that failed together."""

_log = structlog.get_logger(__name__)
_retries = Counter("mgw_retries_total", "Repeated calls", ["upstream", "outcome"])


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently to repeat.

    Attributes
    ----------
    max_retries : int
        Tries after the first one; 2 means at most three calls.
    base_delay_ms, max_delay_ms : int
        First pause, and the cap on any pause (jitter included), in milliseconds.
    jitter : bool
        Whether pauses are spread at random.
    """

    max_retries: int = 3
    base_delay_ms: int = 100
    max_delay_ms: int = 5_000
    jitter: bool = True

    DEFAULT: ClassVar["RetryPolicy"]
    AGGRESSIVE: ClassVar["RetryPolicy"]
    GENTLE: ClassVar["RetryPolicy"]

    def __post_init__(self) -> None:
        if self.max_retries < 0 or self.base_delay_ms < 0 or self.max_delay_ms < self.base_delay_ms:
            raise ValueError("max_retries and base_delay_ms must be >= 0 and max_delay_ms >= base_delay_ms")

    def delay_ms(self, attempt: int, rng: Callable[[], float] = random.random) -> float:
        """Pause before retry ``attempt`` (from 0): min(base * 2**attempt, max), plus up to 30 %, capped at max."""
        # Beyond 2**32 times the base every cap is reached; the bound keeps the float finite for any attempt number.
        delay = min(float(self.base_delay_ms) * 2.0 ** min(attempt, 32), float(self.max_delay_ms))
        if self.jitter:
            delay += rng() * JITTER_SHARE * delay
        return min(delay, float(self.max_delay_ms))


RetryPolicy.DEFAULT = RetryPolicy(3, 100, 5_000)
RetryPolicy.AGGRESSIVE = RetryPolicy(5, 50, 5_000)
RetryPolicy.GENTLE = RetryPolicy(2, 500, 3_000)


class RetryBudget:
    """Bounds the retries of one upstream to a share of its calls, so that an outage is not multiplied by the clients.

    A token bucket: each first call puts ``ratio`` of a token in, each retry takes one out. ``reserve`` tokens at the
    start let a quiet client retry at all; the bucket holds at most ten times that, so that a long good time does not
    save up for a storm.

    Parameters
    ----------
    upstream
        Name for the metric.
    ratio
        Retries per call in the long run; 0.1 means at most 10 % extra calls.
    reserve
        Retries allowed before any call was counted.
    """

    def __init__(self, upstream: str, *, ratio: float = 0.1, reserve: float = 5.0) -> None:
        self.upstream = upstream
        self._ratio = ratio
        self._limit = 10 * reserve
        self._tokens = reserve

    def deposit(self) -> None:
        """Count a first call."""
        self._tokens = min(self._limit, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Take a retry out of the budget; False if there is none left."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def is_retryable(error: BaseException) -> bool:
    """Whether the error says that the same call may succeed later."""
    return isinstance(error, MediaGatewayError) and error.retryable


async def retry_with_backoff(  # noqa: PLR0913 - the last two exist so that tests need no clock
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy = RetryPolicy.DEFAULT,
    *,
    deadline: Deadline | None = None,
    budget: RetryBudget | None = None,
    is_retryable: Callable[[BaseException], bool] = is_retryable,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    rng: Callable[[], float] = random.random,
) -> T:
    """The result of ``call``, repeated while it fails for passing reasons.

    Parameters
    ----------
    call
        Makes one try. It must be safe to repeat.
    deadline
        Limit over all tries and pauses. A pause that does not fit is not begun: the last error is raised at once.
    budget
        Shared by all callers of an upstream.
    is_retryable
        Which errors are worth another try; by default those of ours that say so. Cancellation never is.
    sleep, rng
        Waits that many seconds; a random number in [0, 1).

    Raises
    ------
    Exception
        The last try's error, unchanged. ``DeadlineExceededError`` if a try itself was cut off by the deadline.
    """
    if budget:
        budget.deposit()
    rules = _Rules(policy, deadline, budget, rng)

    async def one_try() -> T:
        if deadline is None:
            return await call()
        async with deadline.timeout():
            return await call()

    retrying = AsyncRetrying(
        retry=lambda state: _failed_passingly(state, is_retryable),
        wait=rules.wait_s,
        stop=rules.stop,
        sleep=sleep,
        before_sleep=_note,
        reraise=True,
    )
    return await retrying(one_try)


@dataclass(frozen=True, slots=True)
class _Rules:
    """How one call is repeated, in the form that tenacity asks for."""

    policy: RetryPolicy
    deadline: Deadline | None
    budget: RetryBudget | None
    rng: Callable[[], float]

    def wait_s(self, state: RetryCallState) -> float:
        # A server's Retry-After is a floor, also above the cap: coming back sooner would only be refused again.
        floor = getattr(_error(state), "retry_after_ms", None) or 0
        return max(self.policy.delay_ms(state.attempt_number - 1, self.rng), float(floor)) / 1000

    def stop(self, state: RetryCallState) -> bool:
        outcome = self._outcome(state)
        if self.policy.max_retries:
            _retries.labels(self.budget.upstream if self.budget else "", outcome).inc()
        return outcome != "retried"

    def _outcome(self, state: RetryCallState) -> str:
        if state.attempt_number > self.policy.max_retries:
            return "exhausted"
        if self.deadline is not None and state.upcoming_sleep * 1000 >= self.deadline.remaining_ms():
            return "no_time"
        if self.budget is not None and not self.budget.withdraw():
            return "no_budget"
        return "retried"


def _failed_passingly(state: RetryCallState, is_retryable: Callable[[BaseException], bool]) -> bool:
    # Not an Exception: cancellation and interpreter exit, which nobody may swallow.
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, Exception) and is_retryable(error)


def _note(state: RetryCallState) -> None:
    _log.debug(
        "retrying", attempt=state.attempt_number, wait_s=state.upcoming_sleep, error=str(_error(state))
    )


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None
    return error
