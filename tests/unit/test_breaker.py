"""Claims about the circuit breaker, on the local state and on a real Redis."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import InvalidInputError, UnavailableError, UpstreamError
from tests.support.waiting import eventually

POLICY = BreakerPolicy(failures=3, error_rate=0.5, successes=2, open_ms=150, probes=2, window_ms=60_000)


class Upstream:
    """Answers or fails as told; counts the calls that reached it."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.calls = 0
        self.error: Exception | None = None

    async def call(self) -> None:
        async with self.breaker.attempt():
            self.calls += 1
            if self.error is not None:
                raise self.error

    async def fail(self, times: int, error: Exception | None = None) -> None:
        self.error = error or UnavailableError("away")
        for _ in range(times):
            with pytest.raises(type(self.error)):
                await self.call()
        self.error = None


async def is_open(upstream: Upstream) -> bool:
    before = upstream.calls
    refused: UnavailableError | None = None
    try:
        await upstream.call()
    except UnavailableError as error:
        refused = error
    if refused is not None:
        assert upstream.calls == before
        assert refused.retry_after_ms is not None
    return refused is not None


@pytest.fixture(params=["local", "shared"])
def breaker(request: pytest.FixtureRequest) -> Callable[[], CircuitBreaker]:
    name = str(uuid7())
    redis: RedisHandle | None = request.getfixturevalue("redis") if request.param == "shared" else None
    return lambda: CircuitBreaker(name, POLICY, redis)


async def until_probing(upstream: Upstream) -> None:
    async def passed() -> bool:
        return not await is_open(upstream)

    await eventually(passed)


async def test_opens_after_the_failures_and_refuses_without_calling(
    breaker: Callable[[], CircuitBreaker],
) -> None:
    upstream = Upstream(breaker())
    await upstream.fail(2)
    assert not await is_open(upstream)
    await upstream.fail(1)
    assert await is_open(upstream)


async def test_closes_after_good_probes(breaker: Callable[[], CircuitBreaker]) -> None:
    upstream = Upstream(breaker())
    await upstream.fail(3)
    await until_probing(upstream)
    await upstream.call()
    await upstream.fail(2)
    assert not await is_open(upstream), "a closed circuit counts from zero"


async def test_failed_probe_opens_again(breaker: Callable[[], CircuitBreaker]) -> None:
    upstream = Upstream(breaker())
    await upstream.fail(3)
    upstream.error = UnavailableError("still away")

    async def probed() -> bool:
        before = upstream.calls
        with pytest.raises(UnavailableError):
            await upstream.call()
        return upstream.calls > before

    await eventually(probed)
    assert await is_open(upstream)


async def test_only_so_many_probes_at_once_and_a_cancelled_one_gives_its_slot_back(
    breaker: Callable[[], CircuitBreaker],
) -> None:
    upstream = Upstream(breaker())
    await upstream.fail(3)
    inside = asyncio.Semaphore(0)

    async def hanging_probe() -> None:
        while True:
            try:
                async with upstream.breaker.attempt():
                    inside.release()
                    await asyncio.Event().wait()
            except UnavailableError:
                await asyncio.sleep(0.02)

    probes = [asyncio.create_task(hanging_probe()) for _ in range(2)]
    for _ in probes:
        await asyncio.wait_for(inside.acquire(), 10)
    assert await is_open(upstream), "both slots are taken"
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    assert not await is_open(upstream), "the slots are free again, and cancellation did not count as failure"


async def test_errors_of_the_caller_do_not_speak_against_the_upstream(
    breaker: Callable[[], CircuitBreaker],
) -> None:
    upstream = Upstream(breaker())
    await upstream.fail(10, InvalidInputError("the caller's fault"))
    assert not await is_open(upstream)
    await upstream.fail(3, UpstreamError("500"))


async def test_few_failures_among_many_calls_do_not_open(breaker: Callable[[], CircuitBreaker]) -> None:
    upstream = Upstream(breaker())
    for _ in range(10):
        await upstream.call()
    await upstream.fail(5)
    assert not await is_open(upstream)


async def given_up(breaker: CircuitBreaker, after_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(after_s), breaker.attempt():
            await asyncio.Event().wait()


async def test_calls_that_were_given_up_late_open_it_and_those_given_up_early_do_not() -> None:
    breaker = CircuitBreaker(str(uuid7()), replace(POLICY, slow_ms=30))
    upstream = Upstream(breaker)
    for _ in range(2 * POLICY.failures):
        await given_up(breaker, 0)
    assert not await is_open(upstream)
    for _ in range(POLICY.failures):
        await given_up(breaker, 0.04)
    assert await is_open(upstream)
    await until_probing(upstream)
    await given_up(breaker, 0.04)
    assert await is_open(upstream), "a probe that was given up is a failed probe"


async def test_calls_that_were_given_up_say_nothing_unless_the_policy_says_how_late_is_late() -> None:
    breaker = CircuitBreaker(str(uuid7()), POLICY)
    for _ in range(2 * POLICY.failures):
        await given_up(breaker, 0.01)
    assert not await is_open(Upstream(breaker))


async def test_processes_share_an_open_circuit(redis: RedisHandle) -> None:
    name = str(uuid7())
    one, other = (Upstream(CircuitBreaker(name, POLICY, redis)) for _ in range(2))
    await one.fail(3)
    assert await is_open(other)


async def test_without_redis_the_local_state_decides(free_port: int) -> None:
    dead = RedisHandle(f"redis://127.0.0.1:{free_port}/0", timeout_ms=200)
    upstream = Upstream(CircuitBreaker("alone", POLICY, dead))
    await upstream.call()
    await upstream.fail(3)
    assert await is_open(upstream)
    await until_probing(upstream)
    await dead.close()
