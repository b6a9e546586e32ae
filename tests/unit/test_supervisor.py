"""Supervised tasks: they come back, they are seen, they end when told."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from structlog.typing import EventDict

from media_gateway.core.deadline import Deadline, current_deadline, deadline_scope
from media_gateway.core.errors import UnavailableError
from media_gateway.core.health import Health, Status
from media_gateway.core.supervisor import Backoff, Supervisor
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[EventDict]]:
    """What is logged, kept from the terminal."""
    with capture_logs() as captured:
        yield captured


QUICK = Backoff(base_s=0.001, max_s=0.01)


def failures_counted(component: str, task: str) -> float:
    return REGISTRY.get_sample_value("mgw_task_failures_total", {"component": component, "task": task}) or 0.0


async def test_a_failing_task_is_restarted_logged_and_counted(lines: list[EventDict]):
    runs = 0
    steady = asyncio.Event()

    async def flaky() -> None:
        nonlocal runs
        runs += 1
        if runs <= 3:
            raise UnavailableError("the bus can't be reached")
        steady.set()
        await asyncio.Event().wait()

    supervisor = Supervisor("restarts", Health(), backoff=QUICK)
    supervisor.spawn("follow", flaky)
    await asyncio.wait_for(steady.wait(), 10)
    assert failures_counted("restarts", "follow") == 3
    failed = [line for line in lines if line["event"] == "background task failed"]
    assert [line["failures"] for line in failed] == [1, 2, 3]
    assert failed[0]["problem"] == "the bus can't be reached"
    assert failed[0]["exc_info"]
    assert await supervisor.stop()


async def test_a_failing_task_shows_in_health_without_making_it_unready_and_heals():
    broken = True

    async def work() -> None:
        if broken:
            raise ValueError("postgres://user:hunter2@host")
        await asyncio.Event().wait()

    health = Health(kept_s=0)
    supervisor = Supervisor("health", health, backoff=QUICK)
    supervisor.spawn("work", work)

    async def status() -> Status:
        return (await health.report()).status

    async def is_degraded() -> bool:
        return await status() is Status.DEGRADED

    async def is_healthy() -> bool:
        return await status() is Status.HEALTHY

    await eventually(is_degraded)
    message = (await health.report()).components[0].message
    assert message is not None
    assert "ValueError" in message
    assert "hunter2" not in message
    broken = False
    await eventually(is_healthy)
    await supervisor.stop()


async def test_a_task_that_returns_is_done_and_healthy():
    runs = 0

    async def once() -> None:
        nonlocal runs
        runs += 1

    health = Health()
    supervisor = Supervisor("done", health, backoff=QUICK)
    supervisor.spawn("once", once)
    assert await supervisor.stop()
    assert runs <= 1
    assert (await health.report()).status is Status.HEALTHY


async def test_a_cancellation_from_within_is_a_failure_like_any_other():
    runs = 0
    again = asyncio.Event()

    async def cancelled_inside() -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            again.set()
            await asyncio.Event().wait()
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    supervisor = Supervisor("inner", Health(), backoff=QUICK)
    supervisor.spawn("work", cancelled_inside)
    await asyncio.wait_for(again.wait(), 10)
    await supervisor.stop()


async def test_stop_lets_tasks_clean_up_and_is_bounded_by_those_that_do_not_end(lines: list[EventDict]):
    cleaned = False
    release = asyncio.Event()
    started = asyncio.Barrier(3)

    async def tidy() -> None:
        nonlocal cleaned
        try:
            await started.wait()
            await asyncio.Event().wait()
        finally:
            cleaned = True

    async def stubborn() -> None:
        await started.wait()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    supervisor = Supervisor("stop", Health(), backoff=QUICK)
    supervisor.spawn("tidy", tidy)
    supervisor.spawn("stubborn", stubborn)
    await started.wait()
    assert not await supervisor.stop(timeout_s=0.1)
    assert cleaned
    assert lines[-1]["tasks"] == ["stop: stubborn"]
    release.set()
    assert await supervisor.stop()


async def test_a_task_spawned_by_a_request_does_not_inherit_its_deadline():
    seen: asyncio.Future[Deadline | None] = asyncio.get_running_loop().create_future()

    async def look() -> None:
        seen.set_result(current_deadline())

    supervisor = Supervisor("context", Health(), backoff=QUICK)
    async with deadline_scope(Deadline.after(60_000)):
        supervisor.spawn("look", look)
    assert await asyncio.wait_for(seen, 10) is None
    await supervisor.stop()


async def test_two_running_tasks_can_not_have_one_name():
    supervisor = Supervisor("names", Health(), backoff=QUICK)
    supervisor.spawn("same", asyncio.Event().wait)
    with pytest.raises(ValueError, match="already running"):
        supervisor.spawn("same", asyncio.Event().wait)
    await supervisor.stop()


@settings(deadline=None)
@given(failures=st.integers(1, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_the_cap_and_never_vanish(failures: int, random: float):
    backoff = Backoff(base_s=0.2, max_s=30)
    pause = backoff.pause_s(failures, lambda: random)
    whole = min(0.2 * 2 ** (min(failures, 20) - 1), 30)
    assert whole / 2 <= pause <= whole
