"""Both event buses while their servers are away: bounded, honest, and going on afterwards without loss."""

import asyncio
import os
import signal
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.kafka import KafkaBus
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.adapters.redis_stream.streams import StreamOptions
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import NotConfiguredError, PayloadTooLargeError, UnavailableError
from media_gateway.core.ports.events import EventBus, Subscription
from tests.support.kafka_mock import MockKafka
from tests.support.kafka_server import JARS, ApacheKafka
from tests.support.waiting import eventually

SHORT = "?publish_timeout_ms=1000&request_timeout_ms=1000&session_timeout_ms=1500"


def event(number: int, key: str = "k") -> Event:
    return Event(topic=Topic.CONTENT, type="content.updated", key=key, data={"n": number}, source="test")


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    mock = MockKafka()
    yield mock
    mock.close()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
async def nothing_is_left_running() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield

    def leftover() -> set[str]:
        return {str(task.get_coro()) for task in asyncio.all_tasks() - before - {asyncio.current_task()}}

    await eventually(lambda: not leftover(), timeout_s=5)


async def closed_within(bus: EventBus, limit_s: float) -> None:
    started = time.monotonic()
    await bus.close()
    assert time.monotonic() - started < limit_s


async def read_until(member: Subscription, seen: dict[str, list[int]], done: Callable[[], bool]) -> None:
    """Consume through outages, noting first deliveries."""

    async def step() -> bool:
        try:
            found = await member.fetch(wait_ms=100)
            for delivery in found:
                numbers = seen[delivery.event.key]
                if delivery.event.data["n"] not in numbers:
                    numbers.append(delivery.event.data["n"])
            await member.ack(found)
        except UnavailableError:
            return False
        return done()

    await eventually(step, timeout_s=40)


async def publish_through(bus: EventBus, events: list[Event]) -> int:
    """As the relay does: the same batch again until it is stored; returns how often that failed."""
    failures = 0
    while True:
        try:
            await bus.publish(events)
        except UnavailableError:
            failures += 1
            await asyncio.sleep(0.05)
        else:
            return failures


@pytest.mark.parametrize("where", ["refused", "silent"])
async def test_kafka_that_never_answers_is_unavailable_in_time_and_closes_in_time(
    where, free_port, black_hole
):
    bus = KafkaBus(f"kafka://127.0.0.1:{free_port if where == 'refused' else black_hole}{SHORT}")
    started = time.monotonic()
    for call in (bus.ping(), bus.publish([event(1)]), bus.end_cursor([Topic.CONTENT])):
        with pytest.raises(UnavailableError):
            await call
    async with bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member:
        with pytest.raises(UnavailableError):
            await member.fetch(wait_ms=100)
    assert time.monotonic() - started < 30
    await closed_within(bus, 5)


async def test_kafka_that_dies_fails_the_publish_in_time_and_closes_in_time(mock_kafka):
    bus = KafkaBus(mock_kafka.url + SHORT)
    await bus.publish([event(1)])
    mock_kafka.down()
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        await bus.publish([event(2)])
    assert time.monotonic() - started < 5
    await closed_within(bus, 5)


async def test_kafka_that_hangs_in_a_publish_does_not_hold_up_its_cancellation(mock_kafka):
    bus = KafkaBus(mock_kafka.url + "?publish_timeout_ms=600000&request_timeout_ms=600000")
    await bus.publish([event(1)])
    mock_kafka.slow(600_000)
    hanging = asyncio.create_task(bus.publish([event(2)]))
    await asyncio.sleep(0.2)
    assert not hanging.done()
    started = time.monotonic()
    hanging.cancel()
    await asyncio.wait([hanging], timeout=5)
    assert hanging.cancelled()
    await bus.close()
    assert time.monotonic() - started < 5


async def test_a_consumer_closes_in_time_while_kafka_is_dead(mock_kafka):
    bus = KafkaBus(mock_kafka.url + SHORT)
    await bus.publish([event(1)])
    async with bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member:
        seen: dict[str, list[int]] = defaultdict(list)
        await read_until(member, seen, lambda: bool(seen["k"]))
        mock_kafka.down()
        started = time.monotonic()
    assert time.monotonic() - started < 5
    await closed_within(bus, 5)


async def test_a_consumer_of_a_dead_kafka_says_so_and_goes_on_when_it_is_back(mock_kafka):
    bus = KafkaBus(mock_kafka.url + SHORT)
    await bus.publish([event(1)])
    seen: dict[str, list[int]] = defaultdict(list)
    async with bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member:
        await read_until(member, seen, lambda: bool(seen["k"]))
        mock_kafka.down()

        async def says_so() -> bool:
            try:
                await member.fetch(wait_ms=100)
            except UnavailableError:
                return True
            return False

        await eventually(says_so, timeout_s=20)
        mock_kafka.up()
        await publish_through(bus, [event(2)])
        await read_until(member, seen, lambda: seen["k"] == [1, 2])
    await bus.close()


async def test_publishing_through_kafka_outages_keeps_the_order_of_first_deliveries(mock_kafka):
    bus = KafkaBus(mock_kafka.url + SHORT)
    seen: dict[str, list[int]] = defaultdict(list)
    failures = 0
    for round_number in range(6):
        batch = [
            event(n, f"k{k}") for n in range(50 * round_number, 50 * round_number + 50) for k in range(5)
        ]
        sending = asyncio.create_task(publish_through(bus, batch))
        if round_number % 2:
            mock_kafka.down()
            await asyncio.sleep(1.2)
            mock_kafka.up()
        failures += await sending
    assert failures
    async with bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member:
        await read_until(member, seen, lambda: sum(map(len, seen.values())) == 1_500)
    assert all(numbers == list(range(300)) for numbers in seen.values())
    await bus.close()


async def test_an_event_larger_than_kafka_takes_is_blamed_and_the_bus_goes_on(mock_kafka):
    bus = KafkaBus(mock_kafka.url + SHORT)
    huge = Event(topic=Topic.CONTENT, type="t", key="k", data={"x": "x" * 2_000_000}, source="test")
    with pytest.raises(PayloadTooLargeError):
        await bus.publish([event(1), huge])
    await bus.publish([event(2)])
    await bus.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("kafka://", "names no broker"),
        ("kafka://h:9092?compresion=gzip", "'compresion' is unknown"),
        ("kafka://h:9092?compression=rar", "compression must be one of"),
        ("kafka://h:9092?partitions=many", "partitions must be a whole number"),
        ("kafka://h:9092?tls=yes", "tls must be true or false"),
        ("kafka://user@h:9092", "user but no password"),
        ("kafka://user:hush@h:9092?sasl=MAGIC", "sasl must be one of"),
        ("kafka://h:9092?publish_timeout_ms=0", "100 or more"),
    ],
)
def test_a_wrong_kafka_url_is_explained_without_its_password(url, problem):
    with pytest.raises(NotConfiguredError, match=problem) as raised:
        KafkaBus(url)
    assert "MEDIA_GATEWAY_EVENTS_URL" in raised.value.message
    assert "hush" not in raised.value.message


async def test_kafka_credentials_and_several_brokers_are_read_from_the_url():
    from media_gateway.core.adapters.kafka.options import KafkaOptions

    options = KafkaOptions.from_url("kafka://me:p%40ss@a:1,b,c:3?tls=true&sasl=PLAIN")
    assert options.brokers == "a:1,b:9092,c:3"
    arguments = options.client_arguments()
    assert arguments["sasl_plain_password"] == "p@ss"
    assert arguments["security_protocol"] == "SASL_SSL"
    assert "p@ss" not in repr(options)


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "state")
    await server.start()
    yield server
    await server.stop()


async def test_redis_killed_in_mid_run_costs_time_but_no_event_and_no_order(own_redis):
    port = own_redis.port
    handle = RedisHandle(own_redis.url, timeout_ms=500)
    bus = RedisStreamBus(handle, StreamOptions(publish_timeout_ms=1_000, lease_ms=600, block_ms=100))
    seen: dict[str, list[int]] = defaultdict(list)
    tailed: dict[str, list[int]] = defaultdict(list)
    total = 5 * 200

    async def outages() -> None:
        for _ in range(2):
            await asyncio.sleep(0.4)
            assert own_redis.pid is not None
            os.kill(own_redis.pid, signal.SIGKILL)
            await asyncio.sleep(0.3)
            await own_redis.stop()
            await own_redis.start()
            assert own_redis.port == port

    async def publish_all() -> None:
        for start in range(0, 200, 10):
            await publish_through(
                bus, [event(n, f"k{k}") for n in range(start, start + 10) for k in range(5)]
            )
            await asyncio.sleep(0.08)

    async with (
        bus.tail([Topic.CONTENT], cursor=None) as tail,
        bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(outages())
        tasks.create_task(publish_all())
        tasks.create_task(read_until(member, seen, lambda: sum(map(len, seen.values())) == total))
        tasks.create_task(read_until(tail, tailed, lambda: sum(map(len, tailed.values())) == total))
    assert all(numbers == list(range(200)) for numbers in seen.values())
    assert all(numbers == list(range(200)) for numbers in tailed.values())
    await handle.close()


async def test_redis_that_never_answers_is_unavailable_in_time(black_hole):
    handle = RedisHandle(f"redis://127.0.0.1:{black_hole}/0", timeout_ms=200)
    bus = RedisStreamBus(handle, StreamOptions(publish_timeout_ms=500))
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        await bus.publish([event(1)])
    await closed_within(bus, 5)
    assert time.monotonic() - started < 5
    await handle.close()


async def test_redis_that_lost_its_data_is_read_from_what_it_has(redis: RedisHandle):
    bus = RedisStreamBus(redis, StreamOptions(lease_ms=600, block_ms=100))
    await bus.publish([event(1)])
    seen: dict[str, list[int]] = defaultdict(list)
    async with bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member:
        await read_until(member, seen, lambda: bool(seen["k"]))
        await redis.client.flushdb()
        await bus.publish([event(2)])
        await read_until(member, seen, lambda: seen["k"] == [1, 2])


@pytest.mark.backends
async def test_apache_kafka_killed_in_mid_run_costs_time_but_no_event_and_no_order():
    if not JARS.is_dir():
        pytest.skip("run by make test-backends")
    server = ApacheKafka()
    server.start()
    bus = KafkaBus(server.url + SHORT + "&partitions=4")
    seen: dict[str, list[int]] = defaultdict(list)
    total = 5 * 400
    failures = 0

    async def outages() -> None:
        for _ in range(2):
            await asyncio.sleep(2)
            server.kill()
            await asyncio.sleep(1)
            await asyncio.to_thread(server.start)

    async def publish_all() -> None:
        nonlocal failures
        for start in range(0, 400, 10):
            batch = [event(n, f"k{k}") for n in range(start, start + 10) for k in range(5)]
            failures += await publish_through(bus, batch)
            await asyncio.sleep(0.1)

    try:
        async with (
            bus.subscribe([Topic.CONTENT], group="g", consumer="a") as member,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(outages())
            tasks.create_task(publish_all())
            tasks.create_task(read_until(member, seen, lambda: sum(map(len, seen.values())) == total))
        assert failures
        assert all(numbers == list(range(400)) for numbers in seen.values())
        server.kill()
        await closed_within(bus, 5)
    finally:
        server.close()
