"""The outbox while handlers fail: nothing lost, nothing reordered, nobody held up for ever."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from media_gateway.core.errors import (
    InvalidInputError,
    NotConfiguredError,
    UnavailableError,
)
from media_gateway.core.outbox import (
    OutboxRelay,
    OutboxRow,
    RelayPolicy,
    requeue_rejected,
)
from media_gateway.core.retry import RetryPolicy
from tests.support.outbox import QUICK, Sink, metric, put, rejected, running
from tests.support.waiting import eventually


@pytest.fixture
def sink() -> Sink:
    return Sink()


async def test_an_outage_loses_nothing_and_keeps_the_order(database, sink):
    down = True
    sink.fail = lambda rows: UnavailableError("down") if down else None
    failed_before = REGISTRY.get_sample_value(
        "mgw_outbox_failures_total", {"destination": "test", "code": "unavailable"}
    )
    async with running(database, sink):
        for n in range(30):
            await put(database, ("a", n), ("b", n))
        await eventually(lambda: sink.calls >= 5)
        await eventually(lambda: metric("mgw_outbox_backlog") == 60)
        assert metric("mgw_outbox_age_seconds") > 0
        down = False
        await eventually(lambda: len(sink.bodies) == 60)
        await eventually(lambda: metric("mgw_outbox_backlog") == 0)
    assert sink.by_key == {"a": list(range(30)), "b": list(range(30))}
    assert await rejected(database) == []
    failed = REGISTRY.get_sample_value(
        "mgw_outbox_failures_total", {"destination": "test", "code": "unavailable"}
    )
    assert failed is not None
    assert failed >= (failed_before or 0) + 5


async def test_an_outage_is_told_once_and_so_is_its_end(database, sink):
    down = True
    sink.fail = lambda rows: UnavailableError("down") if down else None
    with capture_logs() as lines:
        async with running(database, sink):
            await put(database, ("a", 1))
            await eventually(lambda: sink.calls >= 5)
            down = False
            await eventually(lambda: len(sink.bodies) == 1)
            await eventually(lambda: any(line["event"] == "outbox delivery works again" for line in lines))
    loud = [(line["log_level"], line["event"]) for line in lines if line["log_level"] != "debug"]
    assert loud == [("warning", "outbox delivery failed"), ("info", "outbox delivery works again")]


async def test_an_outage_in_mid_batch_repeats_rows_but_never_reorders_first_deliveries(database):
    sink, calls = Sink(), 0

    async def flaky(rows: Sequence[OutboxRow]) -> None:
        nonlocal calls
        calls += 1
        if calls % 3:
            await sink(rows[: len(rows) // 2])
            raise UnavailableError("lost the connection half way")
        await sink(rows)

    await put(database, *[(f"k{n % 4}", n) for n in range(200)])
    async with running(database, flaky) as relay:
        assert await relay.drain(timeout_s=10)
    assert all(numbers == sorted(numbers) for numbers in sink.by_key.values())
    assert sum(map(len, sink.by_key.values())) == 200


async def test_poison_rows_are_set_aside_with_their_reason_and_hold_up_nobody(database, sink):
    poison = {7, 8, 40}
    sink.fail = lambda rows: (
        InvalidInputError("field title: \0 broken") if any(int(row.body) in poison for row in rows) else None
    )
    before = metric("mgw_outbox_rejected_total")
    await put(database, *[(f"k{n % 5}", n) for n in range(120)])
    async with running(database, sink) as relay:
        assert await relay.drain(timeout_s=10)
    assert sorted(n for numbers in sink.by_key.values() for n in numbers) == sorted(set(range(120)) - poison)
    assert all(numbers == sorted(numbers) for numbers in sink.by_key.values())
    assert [body for body, _ in await rejected(database)] == ["7", "8", "40"]
    assert all("InvalidInputError: field title" in reason for _, reason in await rejected(database))
    assert metric("mgw_outbox_rejected_total") == before + 3


async def test_a_bug_in_the_handler_is_tried_again_before_a_row_is_blamed(database, sink):
    sink.fail = lambda rows: ZeroDivisionError("bug") if any(row.body == b"3" for row in rows) else None
    await put(database, *[("k", n) for n in range(6)])
    async with running(database, sink) as relay:
        assert await relay.drain(timeout_s=10)
    assert sink.by_key == {"k": [0, 1, 2, 4, 5]}
    assert await rejected(database) == [("3", "ZeroDivisionError: bug")]
    assert sink.calls > QUICK.unexpected_tries


async def test_a_wrong_configuration_rejects_nothing_however_long_it_lasts(database, sink):
    sink.fail = lambda rows: NotConfiguredError("no key")
    await put(database, ("k", 1), ("k", 2))
    async with running(database, sink):
        await eventually(lambda: sink.calls > 3 * QUICK.unexpected_tries)
        sink.fail = lambda rows: None
        await eventually(lambda: len(sink.bodies) == 2)
    assert await rejected(database) == []


async def test_rejected_rows_can_be_put_back(database, sink):
    sink.fail = lambda rows: InvalidInputError("no")
    await put(database, ("k", 1), ("k", 2))
    async with running(database, sink) as relay:
        assert await relay.drain(timeout_s=10)
        sink.fail = lambda rows: None
        async with database.transaction() as connection:
            assert await requeue_rejected(connection, "test") == 2
        assert await relay.drain(timeout_s=10)
    assert sink.by_key == {"k": [1, 2]}
    assert await rejected(database) == []


async def test_a_handler_that_hangs_is_cut_off_and_the_row_delivered_later(database, sink):
    hanging = True

    async def handle(rows: Sequence[OutboxRow]) -> None:
        if hanging:
            await asyncio.Event().wait()
        await sink(rows)

    await put(database, ("k", 1))
    policy = RelayPolicy(handler_timeout_ms=100, backoff=RetryPolicy(0, 5, 20))
    async with running(database, handle, policy):
        await asyncio.sleep(0.15)
        hanging = False
        await eventually(lambda: sink.bodies == [b"1"])


async def test_stopping_while_a_handler_hangs_takes_less_than_five_seconds(database):
    entered = asyncio.Event()

    async def stubborn(rows: Sequence[OutboxRow]) -> None:
        entered.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if released.is_set():
                    raise

    released = asyncio.Event()
    await put(database, ("k", 1))
    relay = asyncio.create_task(OutboxRelay(database, {"test": stubborn}, QUICK).run())
    others = asyncio.all_tasks()
    await asyncio.wait_for(entered.wait(), 5)
    started = asyncio.get_running_loop().time()
    relay.cancel()
    await asyncio.wait([relay], timeout=5)
    assert relay.cancelled()
    assert asyncio.get_running_loop().time() - started < 5
    released.set()
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await eventually(lambda: not (asyncio.all_tasks() - others))
