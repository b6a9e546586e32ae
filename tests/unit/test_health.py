"""Health reports: who is down, who is asked how often, and that no check can hold the report up."""

import asyncio

import pytest

from media_gateway.core.deadline import Deadline, current_deadline, deadline_scope
from media_gateway.core.errors import UnavailableError
from media_gateway.core.health import Health, Status


async def well() -> None: ...


async def slow_start() -> str:
    return "index is being built"


async def down() -> None:
    raise UnavailableError("Redis can't be reached")


async def secretive() -> None:
    raise ValueError("postgres://user:hunter2@host")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], Status.HEALTHY),
        ([(well, True), (well, False)], Status.HEALTHY),
        ([(slow_start, True)], Status.DEGRADED),
        ([(well, True), (down, False)], Status.DEGRADED),
        ([(down, True), (well, False)], Status.UNHEALTHY),
        ([(down, True), (down, False)], Status.UNHEALTHY),
    ],
)
async def test_status_follows_the_worst_part_by_its_weight(parts, expected):
    health = Health()
    for index, (probe, critical) in enumerate(parts):
        health.add(f"part {index}", probe, critical=critical)
    report = await health.report()
    assert report.status is expected
    assert [part.critical for part in report.components] == [critical for _, critical in parts]


async def test_messages_show_our_errors_and_hide_foreign_ones():
    health = Health()
    health.add("redis", down)
    health.add("database", secretive)
    redis, database = (await health.report()).components
    assert redis.message == "Redis can't be reached"
    assert database.message == "the check itself failed; the log has the reason"


async def test_checks_run_in_parallel_and_a_hanging_one_is_cut_off():
    together = asyncio.Barrier(2)
    cancelled = asyncio.Event()

    async def meets() -> None:
        await together.wait()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    health = Health(timeout_s=0.2)
    health.add("one", meets, critical=True)
    health.add("two", meets)
    health.add("hanging", hangs)
    report = await health.report()
    assert [part.status for part in report.components] == [Status.HEALTHY, Status.HEALTHY, Status.UNHEALTHY]
    assert report.components[2].message == "no answer within 0.2 s"
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_check_that_refuses_to_be_cancelled_is_not_started_again():
    started = 0
    release = asyncio.Event()

    async def stubborn() -> None:
        nonlocal started
        started += 1
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    health = Health(timeout_s=0.05, kept_s=0)
    health.add("stubborn", stubborn, critical=True)
    for _ in range(3):
        assert (await health.report()).status is Status.UNHEALTHY
    assert started == 1
    release.set()
    await health.close()


async def test_a_crowd_of_askers_costs_one_round_of_checks():
    asked = 0
    go_on = asyncio.Event()

    async def counted() -> None:
        nonlocal asked
        asked += 1
        await go_on.wait()

    health = Health(kept_s=60)
    health.add("counted", counted)
    crowd = [asyncio.create_task(health.report()) for _ in range(100)]
    await asyncio.sleep(0)
    crowd[0].cancel()  # an asker who leaves takes nobody's answer away
    go_on.set()
    reports = await asyncio.gather(*crowd[1:])
    assert (await health.report()) is reports[0]
    assert asked == 1


async def test_the_deadline_of_one_asker_does_not_show_in_the_answer_for_all():
    async def hurried() -> str | None:
        return None if current_deadline() is None else "in a hurry"

    health = Health()
    health.add("hurried", hurried)
    async with deadline_scope(Deadline.after(60_000)):
        assert (await health.report()).status is Status.HEALTHY


async def test_a_new_check_is_seen_at_once():
    health = Health(kept_s=60)
    assert (await health.report()).components == ()
    health.add("late", down)
    assert (await health.report()).components[0].status is Status.UNHEALTHY


async def test_an_answer_is_renewed_when_it_is_old():
    state = Status.HEALTHY

    async def probe() -> None:
        if state is Status.UNHEALTHY:
            raise UnavailableError("gone")

    health = Health(kept_s=0)
    health.add("changing", probe, critical=True)
    assert (await health.report()).status is Status.HEALTHY
    state = Status.UNHEALTHY
    assert (await health.report()).status is Status.UNHEALTHY
