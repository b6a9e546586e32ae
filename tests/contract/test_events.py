"""What every event bus promises, run over Redis streams, Kafka's protocol (librdkafka's mock) and Apache Kafka."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from uuid import UUID

import pytest

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.domain.events import Topic
from media_gateway.core.errors import ConflictError
from media_gateway.core.ports.events import Delivery, Subscription
from tests.support.buses import KafkaRig, MockKafkaRig, RedisRig, Rig
from tests.support.kafka_server import JARS, ApacheKafka
from tests.support.waiting import eventually

ANY_TOPICS = [Topic.CONTENT, Topic.USER]


@pytest.fixture(scope="module")
def kafka_url() -> Iterator[str]:
    """A broker given by URL, else Apache Kafka as our child."""
    if given := os.environ.get("MEDIA_GATEWAY_TEST_KAFKA_URL"):
        yield given
        return
    if not JARS.is_dir():
        pytest.skip("run by make test-backends, or with MEDIA_GATEWAY_TEST_KAFKA_URL=kafka://host:9092")
    server = ApacheKafka()
    try:
        server.start()
        yield server.url
    finally:
        server.close()


@pytest.fixture(params=["redis-stream", "kafka-mock", pytest.param("kafka", marks=pytest.mark.backends)])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Kind and URL of a bus. Asked for one by one, so that a Kafka run needs no Redis."""
    match request.param:
        case "redis-stream":
            return "redis-stream", request.getfixturevalue("redis_url")
        case "kafka":
            return "kafka", request.getfixturevalue("kafka_url")
        case kind:
            return kind, ""


@pytest.fixture
async def rig(place: tuple[str, str]) -> AsyncIterator[Rig]:
    kind, url = place
    rig: Rig
    if kind == "redis-stream":
        rig = RedisRig(RedisHandle(url))
        rig.opened.push_async_callback(rig.redis.close)
    else:
        rig = KafkaRig(url) if url else MockKafkaRig()
    async with rig.opened:
        yield rig


def numbers_by_key(deliveries: Iterable[Delivery]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for delivery in deliveries:
        found[delivery.event.key].append(delivery.event.data["number"])
    return dict(found)


async def test_a_new_group_gets_everything_unchanged_and_in_order_per_key(rig):
    bus = await rig.bus()
    sent = rig.events(keys=10, each=30)
    await bus.publish(sent[:50])
    await bus.publish(sent[50:])
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:
        got = await rig.take(member, len(sent))
    assert numbers_by_key(got) == {f"key-{k}": list(range(30)) for k in range(10)}
    assert {d.event.event_id: d.event for d in got} == {event.event_id: event for event in sent}


async def test_events_of_all_asked_topics_and_no_others_come(rig):
    bus = await rig.bus()
    await bus.publish([rig.event("k", n, topic=topic) for n, topic in enumerate(Topic)])
    async with bus.subscribe(ANY_TOPICS, group=rig.group, consumer="a") as member:
        got = await rig.take(member, 2)
        assert rig.ours(await member.fetch(wait_ms=100)) == []
    assert {d.event.topic for d in got} == set(ANY_TOPICS)


async def test_publishing_nothing_is_allowed(rig):
    await (await rig.bus()).publish([])


async def test_an_empty_bus_answers_with_nothing_after_the_wait(rig):
    bus = await rig.bus()
    async with bus.subscribe([Topic.ACTIVITY], group=rig.group, consumer="a") as member:
        await member.fetch(wait_ms=0)
        started = asyncio.get_running_loop().time()
        assert rig.ours(await member.fetch(wait_ms=300)) == []
        assert asyncio.get_running_loop().time() - started < 5


async def test_fetch_gives_no_more_than_asked_and_loses_nothing_by_it(rig):
    bus = await rig.bus()
    await bus.publish(rig.events(keys=7, each=10))
    got: list[Delivery] = []
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:

        async def all_came() -> bool:
            found = await member.fetch(max_events=9, wait_ms=200)
            assert len(found) <= 9
            got.extend(rig.ours(found))
            return len(got) >= 70

        await eventually(all_came, timeout_s=30)
    assert numbers_by_key(got) == {f"key-{k}": list(range(10)) for k in range(7)}


async def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(rig):
    bus = await rig.bus()
    sent = [rig.event("one-key", n) for n in range(40)]
    await bus.publish(sent)
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:
        first = await rig.take(member, 40, ack=False)
        await member.ack(first[:25])
    async with (await rig.bus()).subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:
        again = await rig.take(member, 15)
        assert [d.event.data["number"] for d in again] == list(range(25, 40))
        await member.ack(again)
        assert rig.ours(await member.fetch(wait_ms=300)) == []


async def test_acknowledging_a_later_event_does_not_lose_an_earlier_one(rig):
    bus = await rig.bus()
    await bus.publish([rig.event("one-key", n) for n in range(10)])
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:
        first = await rig.take(member, 10, ack=False)
        await member.ack([d for d in first if d.event.data["number"] != 3])
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="b") as member:
        again = await rig.take(member, 1, ack=False)
    assert again[0].event.data["number"] == 3


async def test_each_group_gets_every_event(rig):
    bus = await rig.bus()
    await bus.publish(rig.events(keys=5, each=4))
    for group in (f"{rig.group}-x", f"{rig.group}-y"):
        async with bus.subscribe([Topic.CONTENT], group=group, consumer="a") as member:
            assert len(await rig.take(member, 20)) == 20


async def test_members_share_the_events_and_no_key_is_read_by_two_at_a_time(rig):
    if rig.members_per_group < 2:
        pytest.skip("the mock cluster serves one member a group")
    buses = [await rig.bus(), await rig.bus()]
    got: dict[str, list[Delivery]] = {"a": [], "b": []}
    publisher = await rig.bus()
    async with (
        buses[0].subscribe([Topic.CONTENT], group=rig.group, consumer="a") as a,
        buses[1].subscribe([Topic.CONTENT], group=rig.group, consumer="b") as b,
    ):

        async def pump(name: str, member: Subscription) -> None:
            while True:
                found = await member.fetch(wait_ms=100)
                got[name] += rig.ours(found)
                await member.ack(found)

        pumps = [asyncio.create_task(pump("a", a)), asyncio.create_task(pump("b", b))]

        async def both_get_some() -> bool:
            await publisher.publish(rig.events(keys=40, each=1, start=-1))
            await asyncio.sleep(0.1)
            return bool(got["a"] and got["b"])

        try:
            await eventually(both_get_some, timeout_s=30)
            for list_ in got.values():
                list_.clear()
            for start in range(0, 50, 10):
                await publisher.publish(rig.events(keys=40, each=10, start=start))
            await eventually(lambda: len(fresh_ids(got)) == 2_000, timeout_s=30)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.wait(pumps)
    readers = defaultdict(set)
    for name, deliveries in got.items():
        fresh = [d for d in deliveries if d.event.data["number"] >= 0]
        assert fresh, f"member {name} got nothing"
        for key, numbers in numbers_by_key(fresh).items():
            assert numbers == list(range(50)), (name, key)
            readers[key].add(name)
    assert all(len(names) == 1 for names in readers.values())


async def test_a_member_that_vanishes_is_replaced_and_its_unfinished_events_come_first(rig):
    if rig.members_per_group < 2:
        pytest.skip("the mock cluster serves one member a group")
    bus, other = await rig.bus(), await rig.bus()
    await bus.publish([rig.event("one-key", n) for n in range(10)])
    vanishing = bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a")
    member = await vanishing.__aenter__()
    first = await rig.take(member, 10, ack=False)
    await member.ack(first[:4])
    await vanish(member)
    await bus.publish([rig.event("one-key", n) for n in range(10, 15)])
    async with other.subscribe([Topic.CONTENT], group=rig.group, consumer="b") as heir:
        again = await rig.take(heir, 11)
    assert [d.event.data["number"] for d in again] == list(range(4, 15))
    await vanishing.__aexit__(None, None, None)


def fresh_ids(got: dict[str, list[Delivery]]) -> set[UUID]:
    return {d.event.event_id for found in got.values() for d in found if d.event.data["number"] >= 0}


async def vanish(member) -> None:
    """As if its process had been killed: nothing renews its membership any more, and it does not say goodbye."""
    if (renewal := getattr(member, "_renewal", None)) is not None:
        renewal.cancel()
        member._joined = False
    else:
        coordinator = member._running._coordinator
        coordinator._heartbeat_task.cancel()
        coordinator._coordination_task.cancel()
        await asyncio.wait([coordinator._heartbeat_task, coordinator._coordination_task])
        coordinator.generation = -1


async def test_a_tail_without_cursor_sees_what_comes_after_it_began_and_nothing_before(rig):
    bus = await rig.bus()
    await bus.publish(rig.events(keys=4, each=5))
    async with bus.tail([Topic.CONTENT], cursor=None) as tail:
        await bus.publish(rig.events(keys=4, each=5, start=5))
        got = await rig.take(tail, 20)
        assert rig.ours(await tail.fetch(wait_ms=100)) == []
    assert numbers_by_key(got) == {f"key-{k}": list(range(5, 10)) for k in range(4)}


async def test_a_tail_continues_right_after_the_cursor_of_any_event(rig):
    bus = await rig.bus()
    start = await bus.end_cursor(ANY_TOPICS)
    sent = rig.events(keys=6, each=10) + [rig.event("u", n, topic=Topic.USER) for n in range(10)]
    await bus.publish(sent)
    async with bus.tail(ANY_TOPICS, cursor=start) as tail:
        got = await rig.take(tail, 70)
    for stop in (1, 33, 69):
        async with (await rig.bus()).tail(ANY_TOPICS, cursor=got[stop - 1].cursor) as tail:
            rest = await rig.take(tail, 70 - stop)
        seen = {d.event.event_id for d in got[:stop]}
        assert seen.isdisjoint(d.event.event_id for d in rest)
        assert {event.event_id for event in sent} == seen | {d.event.event_id for d in rest}


async def test_readers_who_have_seen_everything_have_the_same_cursor(rig):
    bus = await rig.bus()
    topics = [Topic.CONTENT]
    await bus.publish(rig.events(keys=5, each=4))
    async with bus.tail(topics, cursor=await bus.end_cursor(topics)) as early:
        await bus.publish(rig.events(keys=7, each=3))
        async with bus.tail(topics, cursor=await bus.end_cursor(topics)) as late:
            await bus.publish(rig.events(keys=7, each=3))
            cursors = {
                (await rig.take(early, 42))[-1].cursor,
                (await rig.take(late, 21))[-1].cursor,
                await bus.end_cursor(topics),
            }
    assert len(cursors) == 1


async def test_two_tails_both_see_everything(rig):
    bus = await rig.bus()
    async with bus.tail([Topic.CONTENT], cursor=None) as one, bus.tail([Topic.CONTENT], cursor=None) as two:
        await bus.publish(rig.events(keys=3, each=3))
        assert len(await rig.take(one, 9)) == len(await rig.take(two, 9)) == 9


@pytest.mark.parametrize(
    "cursor", ["", "nonsense", "{}", '{"other:0": "1-0"}', "[1]", '{"media-gateway.content|0": "x"}']
)
async def test_a_cursor_that_is_not_of_this_bus_asks_for_a_rebuild(rig, cursor):
    bus = await rig.bus()
    with pytest.raises(ConflictError, match="rebuild"):
        async with bus.tail([Topic.CONTENT], cursor=cursor) as tail:
            await tail.fetch(wait_ms=100)


async def test_a_cursor_that_retention_overtook_asks_for_a_rebuild(rig):
    if isinstance(rig, MockKafkaRig):
        pytest.skip("the mock cluster has no admin requests")
    bus = await rig.bus()
    start = await bus.end_cursor([Topic.CONTENT])
    await bus.publish(rig.events(keys=20, each=2))
    await rig.forget(Topic.CONTENT)
    async with bus.tail([Topic.CONTENT], cursor=start) as tail:
        for _ in range(2):
            with pytest.raises(ConflictError, match="rebuild"):
                await tail.fetch(wait_ms=1000)
    # A rebuild starts here, and works.
    async with bus.tail([Topic.CONTENT], cursor=await bus.end_cursor([Topic.CONTENT])) as tail:
        await bus.publish([rig.event("after", 1)])
        assert len(await rig.take(tail, 1)) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'{"topic":"other"}', b"\xff\x00", b"\xed\xa0\x80"]
)
async def test_a_body_that_is_no_envelope_stops_neither_groups_nor_tails(rig, body):
    bus = await rig.bus()
    await bus.publish([rig.event("k", 0)])
    start = await bus.end_cursor([Topic.CONTENT])
    await rig.put_raw(Topic.CONTENT, body)
    await bus.publish([rig.event("k", 1)])
    async with bus.tail([Topic.CONTENT], cursor=start) as tail:
        assert [d.event.data["number"] for d in await rig.take(tail, 1)] == [1]
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:
        assert [d.event.data["number"] for d in await rig.take(member, 2)] == [0, 1]


async def test_a_thousand_events_of_every_kind_of_key_survive(rig):
    bus = await rig.bus()
    keys = ["", "ключ", "🎬" * 50, "a b\nc|d", "k" * 1_000]
    sent = [rig.event(key, n) for n in range(200) for key in keys]
    await bus.publish(sent)
    async with bus.subscribe([Topic.CONTENT], group=rig.group, consumer="a") as member:
        got = await rig.take(member, 1_000)
    assert numbers_by_key(got) == {key: list(range(200)) for key in keys}


async def test_ping_answers_and_closing_twice_is_fine(rig):
    bus = rig.make()
    await bus.ping()
    await bus.close()
    await bus.close()
