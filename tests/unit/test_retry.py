"""Claims about `retry_with_backoff`; virtual time, no waiting."""

import asyncio

import pytest
from hypothesis import given, strategies as st

from media_gateway.core.deadline import Deadline
from media_gateway.core.errors import (
    DeadlineExceededError,
    InvalidInputError,
    RateLimitedError,
    UnavailableError,
)
from media_gateway.core.retry import JITTER_SHARE, RetryBudget, RetryPolicy, retry_with_backoff

policies = st.builds(
    lambda retries, base, extra, jitter: RetryPolicy(retries, base, base + extra, jitter),
    st.integers(0, 8),
    st.integers(0, 10_000),
    st.integers(0, 100_000),
    st.booleans(),
)


class Upstream:
    """Fails the given number of times, then answers; remembers pauses instead of making them."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.calls = 0
        self.pauses: list[float] = []
        self._failures = failures
        self._error = error or UnavailableError("away")

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@given(policy=policies, failures=st.integers(0, 12))
async def test_calls_are_one_more_than_the_retries_at_most(policy: RetryPolicy, failures: int) -> None:
    upstream = Upstream(failures)
    if failures > policy.max_retries:
        with pytest.raises(UnavailableError, match="away"):
            await retry_with_backoff(upstream, policy, sleep=upstream.sleep)
        assert upstream.calls == policy.max_retries + 1
    else:
        assert await retry_with_backoff(upstream, policy, sleep=upstream.sleep) == "answer"
        assert upstream.calls == failures + 1
    assert len(upstream.pauses) == upstream.calls - 1


@given(policy=policies, attempt=st.integers(0, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_delay_doubles_to_the_cap_and_jitter_stays_in_bounds(
    policy: RetryPolicy, attempt: int, draw: float
) -> None:
    bare = min(policy.base_delay_ms * 2 ** min(attempt, 32), policy.max_delay_ms)
    delay = policy.delay_ms(attempt, lambda: draw)
    assert bare <= delay <= min(bare * (1 + JITTER_SHARE), policy.max_delay_ms)
    if not policy.jitter:
        assert delay == bare


def test_progression_without_jitter_is_the_documented_one() -> None:
    policy = RetryPolicy(max_retries=8, base_delay_ms=100, max_delay_ms=5_000, jitter=False)
    assert [policy.delay_ms(n) for n in range(8)] == [100, 200, 400, 800, 1600, 3200, 5000, 5000]


def test_jitter_is_not_constant() -> None:
    assert len({RetryPolicy.DEFAULT.delay_ms(1) for _ in range(50)}) > 40


def test_presets_are_the_documented_ones() -> None:
    assert RetryPolicy(3, 100, 5_000) == RetryPolicy.DEFAULT
    assert RetryPolicy(5, 50, 5_000) == RetryPolicy.AGGRESSIVE
    assert RetryPolicy(2, 500, 3_000) == RetryPolicy.GENTLE


@pytest.mark.parametrize("values", [(-1, 1, 1), (1, -1, 1), (1, 10, 9)])
def test_impossible_policy_is_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="max_retries"):
        RetryPolicy(*values)


async def test_error_that_cannot_pass_is_raised_at_once_unchanged() -> None:
    error = InvalidInputError("wrong")
    upstream = Upstream(5, error)
    with pytest.raises(InvalidInputError) as caught:
        await retry_with_backoff(upstream, RetryPolicy.AGGRESSIVE, sleep=upstream.sleep)
    assert caught.value is error
    assert (upstream.calls, upstream.pauses) == (1, [])


async def test_retry_after_is_a_floor_even_above_the_cap() -> None:
    upstream = Upstream(1, RateLimitedError("slow down", retry_after_ms=9_000))
    await retry_with_backoff(upstream, RetryPolicy(3, 100, 5_000), sleep=upstream.sleep)
    assert upstream.pauses == [9.0]


async def test_small_retry_after_does_not_shorten_the_pause() -> None:
    upstream = Upstream(1, RateLimitedError("slow down", retry_after_ms=1))
    await retry_with_backoff(upstream, RetryPolicy(3, 100, 5_000, jitter=False), sleep=upstream.sleep)
    assert upstream.pauses == [0.1]


async def test_pause_that_does_not_fit_the_deadline_is_not_begun() -> None:
    upstream = Upstream(3)
    with pytest.raises(UnavailableError):
        await retry_with_backoff(
            upstream, RetryPolicy(3, 5_000, 5_000), deadline=Deadline.after(1_000), sleep=upstream.sleep
        )
    assert (upstream.calls, upstream.pauses) == (1, [])


async def test_try_that_hangs_is_cut_off_by_the_deadline() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceededError):
        await retry_with_backoff(hang, RetryPolicy(3, 1_000, 5_000), deadline=Deadline.after(50))


async def test_cancellation_is_never_retried() -> None:
    calls = 0

    async def cancelled() -> None:
        nonlocal calls
        calls += 1
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await retry_with_backoff(cancelled, RetryPolicy.AGGRESSIVE, is_retryable=lambda _: True)
    assert calls == 1


async def test_budget_bounds_the_extra_calls_of_a_dead_upstream() -> None:
    budget = RetryBudget("dead", ratio=0.1, reserve=5)
    calls = 0
    for _ in range(1_000):
        upstream = Upstream(99)
        with pytest.raises(UnavailableError):
            await retry_with_backoff(upstream, RetryPolicy.DEFAULT, budget=budget, sleep=upstream.sleep)
        calls += upstream.calls
    assert 1_000 < calls <= 1_000 + 0.1 * 1_000 + 5


async def test_good_times_do_not_save_up_for_a_storm() -> None:
    budget = RetryBudget("calm", ratio=0.1, reserve=5)
    for _ in range(100_000):
        budget.deposit()
    withdrawn = 0
    while budget.withdraw():
        withdrawn += 1
    assert withdrawn == 50
