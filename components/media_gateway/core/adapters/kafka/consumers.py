"""The consuming side: a member of a group, and a tail.

Both keep one aiokafka consumer that is thrown away after an error and made anew by the next ``fetch``. aiokafka hides an
outage (it answers with nothing), so a ``fetch`` that found nothing asks the brokers now and then whether they are there.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors as kafka

from media_gateway.core.adapters.envelopes import pause, read_envelope
from media_gateway.core.adapters.kafka.failures import limited, put_down
from media_gateway.core.adapters.kafka.options import KafkaOptions
from media_gateway.core.domain.events import Topic
from media_gateway.core.errors import ConflictError, UnavailableError
from media_gateway.core.ports.events import Delivery

PROBE_S = 3.0
"""How long an empty-handed consumer believes that the brokers are still there, in seconds."""

METADATA_TRIES = 20
METADATA_PAUSE_S = 0.1
"""How often and at which distance, in seconds, brokers are asked for a topic that was made a moment ago."""

_log = structlog.get_logger(__name__)


class _Consumer(ABC):
    """What both kinds share: keeping a consumer alive, reading, noticing outages."""

    def __init__(self, options: KafkaOptions, topics: Sequence[Topic]) -> None:
        self._options = options
        self._topics = tuple(topics)
        self._running: AIOKafkaConsumer | None = None
        self._ready = False
        self._heard_at = 0.0

    async def fetch(self, *, max_events: int = 100, wait_ms: int = 1000) -> list[Delivery]:
        """Next events of the partitions read."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_ms / 1000
        try:
            while True:
                consumer = await self._get()
                left_ms = max(0, int((end - loop.time()) * 1000))
                async with limited(left_ms + self._options.request_timeout_ms):
                    found = await consumer.getmany(timeout_ms=left_ms, max_records=max_events)
                if not found:
                    await self._probe(consumer)
                deliveries = self._take(found)
                if deliveries or loop.time() >= end:
                    return deliveries
        except UnavailableError:
            await self.stop()
            await pause(end)
            raise

    async def stop(self) -> None:
        """Stop within a few seconds, even if the brokers are gone."""
        consumer, self._running = self._running, None
        if consumer is not None:
            await put_down_consumer(consumer)

    async def _get(self) -> AIOKafkaConsumer:
        if self._running is not None and not self._ready:
            await self.stop()
        if self._running is None:
            # Kept before it is started, so that whatever happens `stop` finds it.
            self._running, self._ready = self._make(), False
            async with limited(2 * self._options.request_timeout_ms):
                await self._running.start()
                await self._begin(self._running)
            self._ready = True
            self._heard_at = asyncio.get_running_loop().time()
        return self._running

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._heard_at < PROBE_S:
            return
        async with limited(self._options.request_timeout_ms):
            await consumer.topics()
        self._heard_at = now

    def _take(self, found: Mapping[TopicPartition, Sequence[Any]]) -> list[Delivery]:
        if found:
            self._heard_at = asyncio.get_running_loop().time()
        taken = []
        for partition, records in found.items():
            for record in records:
                position = f"{partition.topic}|{partition.partition}|{record.offset}"
                event = read_envelope(record.value, topic=partition.topic, position=position)
                cursor = self._passed(partition, record.offset, readable=event is not None)
                if event is not None:
                    taken.append(Delivery(event, position, cursor))
        return taken

    @abstractmethod
    def _make(self) -> AIOKafkaConsumer:
        """A consumer, not started."""

    @abstractmethod
    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """What is to be done once it is started."""

    @abstractmethod
    def _passed(self, partition: TopicPartition, offset: int, *, readable: bool) -> str:
        """Note that a record was read; returns the cursor after it."""


class GroupConsumer(_Consumer, ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Implements the port `Subscription` for a member of a group; commits what was acknowledged, never beyond."""

    def __init__(self, options: KafkaOptions, topics: Sequence[Topic], *, group: str, consumer: str) -> None:
        super().__init__(options, topics)
        self._group = group
        self._name = consumer
        self._in_work: dict[TopicPartition, set[int]] = {}
        self._read_up_to: dict[TopicPartition, int] = {}

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Mark as done. What follows an event that is not done is delivered again after a restart too."""
        touched = set()
        for delivery in deliveries:
            topic, number, offset = delivery.position.split("|")
            partition = TopicPartition(topic, int(number))
            if partition in self._in_work:
                self._in_work[partition].discard(int(offset))
                touched.add(partition)
        consumer = self._running
        if consumer is None or not touched:
            return
        offsets = {tp: min(self._in_work[tp], default=self._read_up_to[tp] + 1) for tp in touched}
        try:
            async with limited(self._options.request_timeout_ms):
                await consumer.commit(offsets)
        except UnavailableError as error:
            if not isinstance(error.__cause__, kafka.CommitFailedError | kafka.IllegalStateError):
                raise
            # Another member has the partition now and gets these events again.
            _log.info("acknowledged too late", group=self._group)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget what is in work in partitions that go to another member."""
        for partition in revoked:
            self._in_work.pop(partition, None)
            self._read_up_to.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing to do: reading starts where the group committed."""

    def _make(self) -> AIOKafkaConsumer:
        self._in_work.clear()
        self._read_up_to.clear()
        options = self._options
        consumer = AIOKafkaConsumer(
            **options.client_arguments() | {"client_id": f"media-gateway-{self._name}"},
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=options.request_timeout_ms,
            session_timeout_ms=options.session_timeout_ms,
            heartbeat_interval_ms=max(100, options.session_timeout_ms // 4),
            metadata_max_age_ms=30_000,
        )
        consumer.subscribe([str(topic) for topic in self._topics], listener=self)
        return consumer

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """Nothing to do: the group decides."""

    def _passed(self, partition: TopicPartition, offset: int, *, readable: bool) -> str:
        self._read_up_to[partition] = offset
        in_work = self._in_work.setdefault(partition, set())
        if readable:
            in_work.add(offset)
        return ""


class TailConsumer(_Consumer):
    """Implements the port `Subscription` for a tail; ``ack`` does nothing, the reader keeps the cursor."""

    def __init__(self, options: KafkaOptions, topics: Sequence[Topic], *, cursor: str) -> None:
        super().__init__(options, topics)
        self._cursor: str | None = cursor
        self._next: dict[TopicPartition, int] = {}

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing to do."""

    async def fetch(self, *, max_events: int = 100, wait_ms: int = 1000) -> list[Delivery]:
        """Next events of all partitions."""
        if self._cursor is not None:
            self._next = read_cursor(self._cursor, self._topics)
            self._cursor = None
        try:
            return await super().fetch(max_events=max_events, wait_ms=wait_ms)
        except UnavailableError as error:
            if isinstance(error.__cause__, kafka.OffsetOutOfRangeError | kafka.NoOffsetForPartitionError):
                raise _overtaken() from error
            raise

    def _make(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._options.client_arguments(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=self._options.request_timeout_ms,
        )

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await partitions_of(consumer, self._topics)
        first = await consumer.beginning_offsets(partitions)
        last = await consumer.end_offsets(partitions)
        for partition in partitions:
            # A partition added since the cursor was written is read from its start.
            position = self._next.setdefault(partition, 0)
            if not first[partition] <= position <= last[partition]:
                raise _overtaken()
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, self._next[partition])

    def _passed(self, partition: TopicPartition, offset: int, *, readable: bool) -> str:  # noqa: ARG002 - the base's
        self._next[partition] = offset + 1
        return write_cursor(self._next)


async def put_down_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, its tasks and its connections."""
    # A consumer stopped right after its start would cancel a task of its own that never ran, and fail over it.
    await asyncio.sleep(0)
    await put_down(consumer.stop, consumer._client, consumer._coordinator, consumer._fetcher)  # noqa: SLF001 - no public door


async def partitions_of(consumer: AIOKafkaConsumer, topics: Sequence[Topic]) -> list[TopicPartition]:
    """All partitions of topics.

    Raises
    ------
    UnavailableError
        A topic does not exist (yet).
    """
    names = [str(topic) for topic in topics]
    for _ in range(METADATA_TRIES):
        # `partitions_for_topic` tells what the client knows; only this makes it ask.
        await consumer._client.set_topics(names)  # noqa: SLF001 - no public door
        numbers = {name: consumer.partitions_for_topic(name) for name in names}
        if all(numbers.values()):
            return [TopicPartition(name, number) for name in names for number in sorted(numbers[name])]
        await asyncio.sleep(METADATA_PAUSE_S)
    raise UnavailableError(f"Kafka does not have all of the topics {', '.join(names)} yet")


def write_cursor(positions: Mapping[TopicPartition, int]) -> str:
    """Cursor text of the next offset of each partition."""
    return orjson.dumps({f"{tp.topic}|{tp.partition}": offset for tp, offset in positions.items()}).decode()


def read_cursor(cursor: str, topics: Sequence[Topic]) -> dict[TopicPartition, int]:
    """Positions of a cursor.

    Raises
    ------
    ConflictError
        It is not a cursor of this bus and these topics (the installation changed its bus, for example).
    """
    try:
        positions = {}
        for name, offset in orjson.loads(cursor).items():
            topic, _, number = name.rpartition("|")
            if topic in topics:
                positions[TopicPartition(topic, int(number))] = int(offset)
    except (ValueError, TypeError, AttributeError):
        positions = {}
    if set(map(str, topics)) - {tp.topic for tp in positions}:
        raise ConflictError("the cursor is not of this event bus; rebuild from the database")
    return positions


def _overtaken() -> ConflictError:
    return ConflictError("events after the cursor are gone; rebuild from the database")
