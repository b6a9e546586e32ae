"""Messages of a Kafka topic: a bounded read to the ends that the partitions have when it begins.

Offsets are ours, in the checkpoint and in the cursor; no consumer group, nothing committed at the broker. A Full run
begins at the earliest messages, an Incremental one where the stored cursor ends.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from media_gateway.core.adapters.kafka.consumers import partitions_of, put_down_consumer
from media_gateway.core.adapters.kafka.failures import limited
from media_gateway.core.domain.specs import KafkaSource, SourceSpec
from media_gateway.core.errors import UnavailableError
from media_gateway.ingestion.formats import UnreadableError
from media_gateway.ingestion.formats.json_objects import parse_object
from media_gateway.ingestion.sources.items import BadItem, RawRecord, SourceItem, excerpt
from media_gateway.ingestion.sources.reading import read_checkpoint, write_checkpoint
from media_gateway.ingestion.sources.secret_values import Secrets

if TYPE_CHECKING:
    from media_gateway.core.domain.events import Topic

MESSAGES_AT_ONCE = 500
WAIT_MS = 500

Offsets = dict[int, int]
"""Next offset of each partition."""


class TopicSource:
    """Reads a topic; each message holds one JSON object."""

    def __init__(self, spec: SourceSpec, secrets: Secrets, cursor_field: str | None) -> None:
        assert spec.kafka is not None
        self._kafka: KafkaSource = spec.kafka
        self._limit = spec.max_record_bytes
        del cursor_field  # offsets are the cursor
        self._arguments = _client_arguments(spec.kafka, secrets)
        self._read = 0

    @property
    def units_read(self) -> int:
        """Offsets passed."""
        return self._read

    async def estimate(self) -> int | None:
        """Offsets between the earliest messages and the ends."""
        async with self._consumer() as consumer:
            partitions, first, ends = await self._bounds(consumer)
        return sum(ends[number] - first[number] for number in partitions)

    async def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Messages from the checkpoint, else the cursor, else the earliest on."""
        place = read_checkpoint(checkpoint, "next", "ends")
        async with self._consumer() as consumer:
            partitions, first, ends = await self._bounds(consumer)
            if place is not None:
                # The run's ends are those of its beginning, or it would never be done on a busy topic.
                ends = {int(number): offset for number, offset in place["ends"].items()}
            known = place["next"] if place is not None else orjson.loads(cursor) if cursor else {}
            # What retention has deleted meanwhile can't be read any more; reading goes on with what there is.
            offsets = {n: max(first[n], int(known.get(str(n), first[n]))) for n in partitions if n in ends}
            self._read = sum(offsets[n] - first[n] for n in offsets)
            async with aclosing(self._messages(consumer, offsets, ends)) as items:
                async for item in items:
                    yield item

    async def _messages(
        self, consumer: AIOKafkaConsumer, offsets: Offsets, ends: Offsets
    ) -> AsyncGenerator[SourceItem]:
        topic = self._kafka.topic
        left = {TopicPartition(topic, n) for n, offset in offsets.items() if offset < ends[n]}
        consumer.assign(list(left))
        for partition in left:
            consumer.seek(partition, offsets[partition.partition])
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while left:
            async with limited(self._kafka.timeout_seconds * 1000):
                found = await consumer.getmany(*left, timeout_ms=WAIT_MS, max_records=MESSAGES_AT_ONCE)
            for partition, messages in found.items():
                for message in messages:
                    if message.offset < ends[partition.partition]:
                        offsets[partition.partition] = message.offset + 1
                        self._read += 1
                        yield self._item(message, offsets, ends)
            moved = bool(found)
            for partition in tuple(left):
                # Transaction markers take offsets and are no messages: the position tells, not the last message.
                async with limited(self._kafka.timeout_seconds * 1000):
                    position = await consumer.position(partition)
                moved = moved or position > offsets[partition.partition]
                if position >= ends[partition.partition]:
                    left.discard(partition)
                    consumer.pause(partition)
            if moved:
                heard_at = loop.time()
            elif loop.time() - heard_at > self._kafka.timeout_seconds:
                raise UnavailableError(f"Kafka gives no messages of {topic}, though there are more")

    def _item(self, message: Any, offsets: Offsets, ends: Offsets) -> SourceItem:
        reached = {str(number): offset for number, offset in offsets.items()}
        checkpoint = write_checkpoint(next=reached, ends={str(n): offset for n, offset in ends.items()})
        place = f"partition {message.partition}, offset {message.offset}"
        try:
            if message.value is None:
                raise UnreadableError("no value; removals are found by Full runs, not by empty messages")  # noqa: TRY301 - told below
            if len(message.value) > self._limit:
                raise UnreadableError(f"the message is longer than {self._limit} bytes")  # noqa: TRY301 - told below
            payload = parse_object(message.value)
        except UnreadableError as error:
            return BadItem(f"{place}: {error}", None, None, excerpt(message.value or b""), checkpoint)
        cursor = orjson.dumps({str(message.partition): message.offset + 1}).decode()
        return RawRecord(payload, None, checkpoint, cursor)

    async def _bounds(self, consumer: AIOKafkaConsumer) -> tuple[list[int], Offsets, Offsets]:
        async with limited(self._kafka.timeout_seconds * 1000):
            partitions = await partitions_of(consumer, [cast("Topic", self._kafka.topic)])
            first = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        numbers = [partition.partition for partition in partitions]
        return (
            numbers,
            {p.partition: first[p] for p in partitions},
            {p.partition: ends[p] for p in partitions},
        )

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._arguments,
            client_id="media-gateway-ingestion",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=self._kafka.timeout_seconds * 1000,
        )
        try:
            async with limited(self._kafka.timeout_seconds * 1000):
                await consumer.start()
            yield consumer
        finally:
            await put_down_consumer(consumer)


def _client_arguments(spec: KafkaSource, secrets: Secrets) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(spec.brokers),
        "security_protocol": spec.security_protocol,
    }
    if "SSL" in spec.security_protocol:
        arguments["ssl_context"] = ssl.create_default_context()
    if spec.password_ref is not None and spec.security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": spec.sasl_mechanism,
            "sasl_plain_username": spec.username,
            "sasl_plain_password": secrets.value(spec.password_ref),
        }
    return arguments
