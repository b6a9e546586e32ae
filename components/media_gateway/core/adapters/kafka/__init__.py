"""The event bus on Kafka (aiokafka): what an installation of many services uses.

An event's key picks the partition (murmur2, as Java clients do), so events of a key are in one partition, in order. No
call waits longer than its limit, whatever state the brokers are in.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from aiokafka import AIOKafkaClient, AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from media_gateway.core.adapters.kafka.consumers import (
    GroupConsumer,
    TailConsumer,
    partitions_of,
    put_down_consumer,
    write_cursor,
)
from media_gateway.core.adapters.kafka.failures import limited, put_down
from media_gateway.core.adapters.kafka.options import KafkaOptions
from media_gateway.core.adapters.kafka.producer import Producer
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import MediaGatewayError, UnavailableError
from media_gateway.core.ports.events import Subscription

CLOSE_TIMEOUT_S = 4.5
"""Below the 5 s that a stopping process grants."""

_log = structlog.get_logger(__name__)


class KafkaBus:
    """Implements the port `EventBus`.

    Parameters
    ----------
    url
        ``kafka://broker:9092,broker:9092?…``, see `KafkaOptions`.
    """

    def __init__(self, url: str) -> None:
        self._options = KafkaOptions.from_url(url)
        driver = logging.getLogger("aiokafka")
        if driver.level == logging.NOTSET:
            # It writes ten lines a second during an outage, which we report ourselves.
            driver.setLevel(logging.CRITICAL)
        self._producer = Producer(self._options)
        self._consumers: set[GroupConsumer | TailConsumer] = set()
        self._known_topics: set[Topic] = set()

    async def publish(self, events: Sequence[Event]) -> None:
        """Store events, in order per key, on all in-sync replicas."""
        if events:
            await self._ensure_topics({event.topic for event in events})
            await self._producer.send(events)

    @asynccontextmanager
    async def subscribe(
        self, topics: Sequence[Topic], *, group: str, consumer: str
    ) -> AsyncIterator[Subscription]:
        """Consume as a member of a group."""
        async with self._open(
            GroupConsumer(self._options, topics, group=group, consumer=consumer), topics
        ) as member:
            yield member

    @asynccontextmanager
    async def tail(self, topics: Sequence[Topic], *, cursor: str | None) -> AsyncIterator[Subscription]:
        """Consume everything from a cursor, or from now.

        Raises
        ------
        UnavailableError
            No cursor was given and Kafka can't say what "now" is.
        """
        start = cursor if cursor is not None else await self.end_cursor(topics)
        async with self._open(TailConsumer(self._options, topics, cursor=start), topics) as tail:
            yield tail

    async def end_cursor(self, topics: Sequence[Topic]) -> str:
        """Cursor of "now"."""
        await self._ensure_topics(set(topics))
        async with self._borrowed_consumer() as consumer, limited(self._options.request_timeout_ms):
            return write_cursor(await consumer.end_offsets(await partitions_of(consumer, topics)))

    async def ping(self) -> None:
        """Return if a broker answers."""
        options = self._options
        client = AIOKafkaClient(**options.client_arguments(), request_timeout_ms=options.request_timeout_ms)
        try:
            async with limited(options.request_timeout_ms):
                await client.bootstrap()
        finally:
            await put_down(client.close, client)

    async def close(self) -> None:
        """Stop producers and consumers."""
        stops = [asyncio.create_task(self._producer.stop())]
        stops += [asyncio.create_task(consumer.stop()) for consumer in self._consumers]
        _, late = await asyncio.wait(stops, timeout=CLOSE_TIMEOUT_S)
        for task in late:
            task.cancel()
        if late:
            _log.warning("Kafka clients did not stop in time", count=len(late))

    @asynccontextmanager
    async def _open(
        self, consumer: GroupConsumer | TailConsumer, topics: Sequence[Topic]
    ) -> AsyncIterator[Subscription]:
        try:
            await self._ensure_topics(set(topics))
        except UnavailableError as error:
            _log.info("Kafka not ready yet", error=error.message)
        self._consumers.add(consumer)
        try:
            yield consumer
        finally:
            self._consumers.discard(consumer)
            await consumer.stop()

    @asynccontextmanager
    async def _borrowed_consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        options = self._options
        consumer = AIOKafkaConsumer(
            **options.client_arguments(),
            group_id=None,
            enable_auto_commit=False,
            request_timeout_ms=options.request_timeout_ms,
        )
        try:
            async with limited(options.request_timeout_ms):
                await consumer.start()
            yield consumer
        finally:
            await put_down_consumer(consumer)

    async def _ensure_topics(self, topics: set[Topic]) -> None:
        """Create what is absent, where we may. A broker that creates topics by itself, or forbids us to, is fine too."""
        missing = topics - self._known_topics
        if not missing:
            return
        options = self._options
        admin = AIOKafkaAdminClient(
            **options.client_arguments(), request_timeout_ms=options.request_timeout_ms
        )
        try:
            async with limited(options.request_timeout_ms):
                await admin.start()
                present = set(await admin.list_topics())
                absent = [topic for topic in missing if topic not in present]
            await self._create(admin, absent)
        finally:
            await put_down(admin.close, admin._client)  # noqa: SLF001 - no public door
        self._known_topics |= missing

    async def _create(self, admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
        if not topics:
            return
        options = self._options
        # aiokafka lets -1, the broker's own default, through only beside an (empty) assignment.
        broker_decides: dict[int, list[int]] | None = (
            {} if -1 in {options.partitions, options.replication} else None
        )
        wanted = [
            NewTopic(str(topic), options.partitions, options.replication, broker_decides) for topic in topics
        ]
        try:
            async with limited(options.request_timeout_ms):
                if admin._client.cluster.controller is not None:  # noqa: SLF001 - aiokafka would stumble over it
                    answer = await admin.create_topics(wanted)
                    for topic, code, *_ in answer.topic_errors:
                        _log.info(
                            "Kafka topic created",
                            topic=topic,
                            error=for_code(code).__name__ if code else None,
                        )
                # Asking for a topic by name makes brokers create it that do so by themselves.
                await admin.describe_topics([str(topic) for topic in topics])
        except MediaGatewayError as error:
            _log.info("Kafka topics not created", reason=str(error.__cause__ or error.message))
