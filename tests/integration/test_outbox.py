"""The outbox: what is committed is delivered, at least once, in order per key."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.consumed import not_yet_consumed
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import (
    UnavailableError,
)
from media_gateway.core.outbox import (
    EVENTS,
    Handler,
    OutboxRelay,
    OutboxRow,
    RelayPolicy,
    enqueue,
    enqueue_events,
    publish_to,
)
from media_gateway.core.outbox.rows import backlog
from tests.support.outbox import QUICK, Sink, is_empty, put, rejected, running
from tests.support.waiting import eventually


@pytest.fixture
def sink() -> Sink:
    return Sink()


async def test_committed_rows_are_delivered_and_gone_and_rolled_back_rows_never_existed(database, sink):
    async with database.engine.connect() as connection:
        await enqueue(connection, "test", [("k", b"666")])
        await connection.rollback()
    async with running(database, sink):
        await put(database, *[("k", n) for n in range(120)])
        await eventually(lambda: len(sink.bodies) == 120)
        await eventually(lambda: is_empty(database))
    assert sink.by_key == {"k": list(range(120))}


async def test_rows_for_another_destination_stay(database, sink):
    async with database.transaction() as connection:
        await enqueue(connection, "other", [("k", b"1")])
    await put(database, ("k", 2))
    async with running(database, sink) as relay:
        assert await relay.drain(timeout_s=5)
    assert sink.bodies == [b"2"]
    assert (await backlog(database, "other")).rows == 1


async def test_order_per_key_holds_with_many_writers_and_many_relays(database, database_url):
    """Writers take a row lock on their key, as writers of state do; each counts its key up."""
    keys, writers, rounds = 8, 6, 25
    sinks = [Sink() for _ in range(3)]
    first_deliveries: dict[str, list[int]] = defaultdict(list)

    def recording(one: Sink) -> Handler:
        async def handle(rows: Sequence[OutboxRow]) -> None:
            await asyncio.sleep(random.random() * 0.004)
            await one(rows)
            for row in rows:
                if int(row.body) not in first_deliveries[row.key]:
                    first_deliveries[row.key].append(int(row.body))

        return handle

    async with database.transaction() as connection:
        await connection.execute(sa.text("CREATE TABLE state (key text PRIMARY KEY, n int NOT NULL)"))
        await connection.execute(
            sa.text("INSERT INTO state SELECT 'k' || g, 0 FROM generate_series(1, :keys) g"), {"keys": keys}
        )

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(rounds):
            chosen = sorted(chance.sample(range(1, keys + 1), 3))
            async with database.transaction() as connection:
                for number in chosen:
                    count = await connection.execute(
                        sa.text("UPDATE state SET n = n + 1 WHERE key = :key RETURNING n"),
                        {"key": f"k{number}"},
                    )
                    await enqueue(connection, "test", [(f"k{number}", str(count.scalar_one()).encode())])
                await asyncio.sleep(chance.random() * 0.003)

    pools = [Database(database_url, pool_size=2) for _ in sinks]
    policy = RelayPolicy(batch_size=7, idle_max_ms=5, busy_ms=1)
    relays = [
        asyncio.create_task(OutboxRelay(pool, {"test": recording(sink)}, policy).run())
        for pool, sink in zip(pools, sinks, strict=True)
    ]
    await asyncio.gather(*(write(seed) for seed in range(writers)))
    await eventually(lambda: is_empty(database), timeout_s=30)
    for task in relays:
        task.cancel()
    await asyncio.wait(relays)
    for pool in pools:
        await pool.close()
    assert sum(map(len, first_deliveries.values())) == writers * rounds * 3
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in first_deliveries.values())
    # Nothing failed, so nothing came twice; and the work was shared.
    assert sum(len(sink.bodies) for sink in sinks) == writers * rounds * 3


async def test_a_row_that_commits_after_later_ones_were_delivered_is_not_skipped(database, sink):
    async with running(database, sink):
        async with database.transaction() as slow:
            await enqueue(slow, "test", [("slow", b"1")])
            await put(database, ("fast", 2))
            await eventually(lambda: sink.bodies == [b"2"])
        await eventually(lambda: sink.bodies == [b"2", b"1"])


async def test_a_quiet_relay_finds_rows_of_its_own_process_at_once_and_of_others_soon(
    database, database_url, sink
):
    policy = RelayPolicy(idle_max_ms=5, quiet_after_s=0.05, quiet_ms=2_000)
    looks = 0

    async def looked_for_a_while() -> bool:
        nonlocal looks
        looks += 1
        return looks > 10

    other = Database(database_url, pool_size=1)
    async with running(database, sink, policy):
        await eventually(looked_for_a_while)
        await put(database, ("own", 1))
        await eventually(lambda: sink.bodies == [b"1"], timeout_s=1.5)
        await put(other, ("other", 2))
        await eventually(lambda: sink.bodies == [b"1", b"2"], timeout_s=5)
    await other.close()


async def test_drain_says_whether_everything_went_out(database, sink):
    relay = OutboxRelay(database, {"test": sink}, QUICK)
    assert await relay.drain(timeout_s=5)
    await put(database, *[("k", n) for n in range(120)])
    assert await relay.drain(timeout_s=5)
    assert len(sink.bodies) == 120
    sink.fail = lambda rows: UnavailableError("down")
    await put(database, ("k", 120))
    assert not await relay.drain(timeout_s=0.3)
    assert (await backlog(database, "test")).rows == 1


async def test_old_rejected_rows_and_consumed_ids_are_forgotten(database, sink):
    async with database.transaction() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO outbox_rejected (id, destination, key, body, created_at, rejected_at, reason) "
                "SELECT g, 'test', 'k', 'b', now(), now() - g * interval '1 day', 'r' FROM generate_series(1, 60) g"
            )
        )
        await connection.execute(
            sa.text(
                "INSERT INTO consumed_events (consumer, event_id, consumed_at) "
                "SELECT 'c', gen_random_uuid(), now() - g * interval '1 day' FROM generate_series(1, 20) g"
            )
        )

    async def counts() -> tuple[int, int]:
        async with database.transaction() as connection:
            found = await connection.execute(
                sa.text(
                    "SELECT (SELECT count(*) FROM outbox_rejected), (SELECT count(*) FROM consumed_events)"
                )
            )
            return tuple(found.one())

    async def forgotten() -> bool:
        return await counts() == (29, 6)

    policy = RelayPolicy(rejected_retention=timedelta(days=29.5), consumed_retention=timedelta(days=6.5))
    async with running(database, sink, policy):
        await eventually(forgotten)


async def test_an_effect_happens_once_even_if_two_consumers_get_the_event_at_once(database):
    ids = [uuid7() for _ in range(20)]
    done: list[Any] = []

    async def consume(start: int) -> None:
        for event_id in ids[start:] + ids[:start]:
            async with database.transaction() as connection:
                done.extend(await not_yet_consumed(connection, "counter", [event_id, event_id]))

    await asyncio.gather(*(consume(start) for start in (0, 5, 10)))
    assert sorted(done) == sorted(ids)
    fresh = uuid7()
    async with database.engine.connect() as connection:
        assert await not_yet_consumed(connection, "counter", [fresh, ids[0]]) == {fresh}
        await connection.rollback()
    async with database.transaction() as connection:
        assert await not_yet_consumed(connection, "counter", [fresh]) == {fresh}
        assert await not_yet_consumed(connection, "other", ids) == set(ids)
        assert await not_yet_consumed(connection, "other", []) == set()


async def test_events_go_from_a_transaction_to_the_consumer(database, redis: RedisHandle):
    bus = RedisStreamBus(redis)
    relay = OutboxRelay(database, {EVENTS: publish_to(bus)}, QUICK)
    task = asyncio.create_task(relay.run())
    events = [
        Event(topic=Topic.CONTENT, type="content.updated", key=f"k{n % 3}", data={"n": n}, source="test")
        for n in range(30)
    ]
    got: list[Event] = []
    async with bus.tail([Topic.CONTENT], cursor=None) as tail:
        async with database.transaction() as connection:
            await enqueue_events(connection, events)
            await enqueue(connection, EVENTS, [("k", b"no envelope")])
            await enqueue_events(connection, [])

        async def all_came() -> bool:
            got.extend(delivery.event for delivery in await tail.fetch(wait_ms=100))
            return len(got) >= 30

        await eventually(all_came)
    assert {event.event_id: event for event in got} == {event.event_id: event for event in events}
    await eventually(lambda: one_rejected(database))
    task.cancel()
    await asyncio.wait([task])


async def one_rejected(database: Database) -> bool:
    return [body for body, _ in await rejected(database)] == ["no envelope"]
