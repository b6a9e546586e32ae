"""The producing side: one idempotent producer, thrown away and made anew whenever it fails.

aiokafka's idempotent producer, once its broker is gone, may neither send nor stop for ever. So nothing here waits for it
without a limit, and a producer that failed is cut off and never used again.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from media_gateway.core.adapters.kafka.failures import STOP_TIMEOUT_S, cut_off, limited, put_down
from media_gateway.core.adapters.kafka.options import KafkaOptions
from media_gateway.core.domain.events import Event

BATCH_SIZE_BYTES = 256 * 1024
"""Largest batch for one partition: a relay's whole batch fits, so that it takes one exchange with each broker."""


class Producer:
    """Sends events in order, all or error.

    Parameters
    ----------
    options
        Brokers and times.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._running: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._discards: set[asyncio.Task[None]] = set()

    async def send(self, events: Sequence[Event]) -> None:
        """Return once all in-sync replicas have all events.

        Raises
        ------
        UnavailableError, NotConfiguredError, PayloadTooLargeError
            Not all are stored. Sending the same again keeps the order of first deliveries: no event of a partition is
            stored after one that failed.
        """
        producer: AIOKafkaProducer | None = None
        try:
            async with limited(self._options.publish_timeout_ms):
                producer = await self._get()
                await _send_all(producer, events)
        except Exception:
            if producer is not None and self._running is producer:
                self._discard()
            raise

    async def stop(self) -> None:
        """Stop within three times ``STOP_TIMEOUT_S``."""
        producer, self._running = self._running, None
        if producer is not None:
            await put_down(producer.stop, *_parts(producer))
        if self._discards:
            await asyncio.wait(self._discards, timeout=2 * STOP_TIMEOUT_S)

    async def _get(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._running is None:
                self._running = await self._start()
            return self._running

    async def _start(self) -> AIOKafkaProducer:
        options = self._options
        compression = None if options.compression == "none" else options.compression
        producer = AIOKafkaProducer(
            **options.client_arguments(),
            enable_idempotence=True,
            compression_type=compression,
            max_batch_size=BATCH_SIZE_BYTES,
            # Later than our own limit: a batch that expired by itself would let the ones behind it overtake.
            request_timeout_ms=options.publish_timeout_ms + 5_000,
        )
        try:
            await producer.start()
        except BaseException:
            self._keep(asyncio.create_task(_cut_off(producer)))
            raise
        return producer

    def _discard(self) -> None:
        producer, self._running = self._running, None
        if producer is not None:
            self._keep(asyncio.create_task(_cut_off(producer)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._discards.add(task)
        task.add_done_callback(self._discards.discard)


async def _send_all(producer: AIOKafkaProducer, events: Sequence[Event]) -> None:
    futures = []
    for event in events:
        future = await producer.send(event.topic, event.to_json(), key=event.key.encode())
        future.add_done_callback(_note)
        futures.append(future)
    if futures:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
        for future in done:
            future.result()


def _note(future: "asyncio.Future[object]") -> None:
    # An exception nobody asks for is reported by asyncio as lost.
    if not future.cancelled():
        future.exception()


async def _cut_off(producer: AIOKafkaProducer) -> None:
    # Only its `stop`, which may hang, says this otherwise; without it asyncio hears of a forgotten producer.
    producer._closed = True  # noqa: SLF001
    await cut_off(*_parts(producer))


def _parts(producer: AIOKafkaProducer) -> tuple[Any, ...]:
    # No public door to the two that run its tasks.
    return producer.client, producer._sender, producer._message_accumulator  # noqa: SLF001
