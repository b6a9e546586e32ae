"""The event buses the contract runs over, each with what a test needs beyond the port."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AsyncExitStack
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from media_gateway.core.adapters.kafka import KafkaBus
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.adapters.redis_stream.streams import FIELD, StreamOptions, stream_name
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.ports.events import Delivery, EventBus, Subscription
from tests.support.kafka_mock import MockKafka
from tests.support.waiting import eventually


class Rig(ABC):
    """A bus under test. ``bus`` gives another process's view of it each time."""

    members_per_group = 2

    def __init__(self) -> None:
        self.opened = AsyncExitStack()
        # A server given by URL may hold events of others: ours are told apart by their source.
        self.source = f"test-{uuid4().hex[:8]}"
        self.group = f"group-{uuid4().hex[:8]}"

    async def bus(self) -> EventBus:
        bus = self.make()
        self.opened.push_async_callback(bus.close)
        return bus

    def event(self, key: str, number: int, *, topic: Topic = Topic.CONTENT) -> Event:
        return Event(
            topic=topic, type="content.updated", key=key, data={"number": number}, source=self.source
        )

    def events(self, keys: int, each: int, *, start: int = 0) -> list[Event]:
        """Numbered per key, keys interleaved."""
        return [self.event(f"key-{k}", n) for n in range(start, start + each) for k in range(keys)]

    def ours(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        return [delivery for delivery in deliveries if delivery.event.source == self.source]

    async def take(self, subscription: Subscription, count: int, *, ack: bool = True) -> list[Delivery]:
        """Exactly that many of our events, in the order in which they came; other tests' are acknowledged in any case."""
        taken: list[Delivery] = []

        async def enough() -> bool:
            found = await subscription.fetch(max_events=max(1, count - len(taken)), wait_ms=200)
            ours = self.ours(found)
            await subscription.ack(found if ack else [delivery for delivery in found if delivery not in ours])
            taken.extend(ours)
            return len(taken) >= count

        await eventually(enough, timeout_s=30)
        assert len(taken) == count
        return taken

    @abstractmethod
    def make(self) -> EventBus: ...

    @abstractmethod
    async def put_raw(self, topic: Topic, body: bytes) -> None:
        """Store a message that no producer of ours made."""

    @abstractmethod
    async def forget(self, topic: Topic) -> None:
        """Let retention take everything stored so far."""


class RedisRig(Rig):
    def __init__(self, redis: RedisHandle) -> None:
        super().__init__()
        self.redis = redis
        self.options = StreamOptions(max_events=1_000, lease_ms=600, block_ms=100)

    def make(self) -> EventBus:
        return RedisStreamBus(self.redis, self.options)

    async def put_raw(self, topic: Topic, body: bytes) -> None:
        await self.redis.client.xadd(stream_name(topic, 0), {FIELD: body})

    async def forget(self, topic: Topic) -> None:
        bus = self.make()
        for _ in range(10):
            await bus.publish([self.event(f"filler-{n}", n, topic=topic) for n in range(1_000)])


class KafkaRig(Rig):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def make(self) -> EventBus:
        return KafkaBus(f"{self.url}?session_timeout_ms=2000&request_timeout_ms=3000&publish_timeout_ms=5000")

    async def put_raw(self, topic: Topic, body: bytes) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.url.removeprefix("kafka://"))
        await producer.start()
        await producer.send_and_wait(topic, body)
        await producer.stop()

    async def forget(self, topic: Topic) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.url.removeprefix("kafka://"))
        await admin.start()
        (described,) = await admin.describe_topics([topic])
        # -1: up to the end.
        await admin.delete_records(
            {TopicPartition(topic, p["partition"]): RecordsToDelete(-1) for p in described["partitions"]}
        )
        await admin.close()


class MockKafkaRig(KafkaRig):
    members_per_group = 1

    def __init__(self) -> None:
        self.mock = MockKafka()
        super().__init__(self.mock.url)
        self.opened.callback(self.mock.close)

    async def put_raw(self, topic: Topic, body: bytes) -> None:
        self.mock.put_raw(topic, body)
