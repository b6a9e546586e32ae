"""The event bus on Redis streams (Redis 6.2 or newer): the embedded default, and good for one Redis worth of events.

A topic is four streams, its partitions; an event's key picks one, so events of a key are in one stream, in order. A
consumer group gives each partition to one member at a time (`group`); a tail reads all of them (`tail`). Streams are cut
at ``max_events`` entries each. All keys share one hash tag, so a Redis Cluster keeps them on one node.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from zlib import crc32

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.adapters.redis_stream.group import GroupSubscription
from media_gateway.core.adapters.redis_stream.streams import (
    FIELD,
    PARTITIONS,
    StreamOptions,
    ends,
    stream_name,
)
from media_gateway.core.adapters.redis_stream.tail import TailSubscription, write_cursor
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import DeadlineExceededError, UnavailableError
from media_gateway.core.ports.events import Subscription

__all__ = ["RedisStreamBus", "StreamOptions"]


class RedisStreamBus:
    """Implements the port `EventBus`.

    Parameters
    ----------
    redis
        Publishing and bookkeeping use its pool; each consumer opens one connection of its own for blocking reads.
    options
        Sizes and times.
    """

    def __init__(self, redis: RedisHandle, options: StreamOptions | None = None) -> None:
        self._redis = redis
        self._options = options or StreamOptions()

    async def publish(self, events: Sequence[Event]) -> None:
        """Store events, in order, in one round trip."""
        if not events:
            return
        try:
            async with asyncio.timeout(self._options.publish_timeout_ms / 1000):
                with translated():
                    await self._add(events)
        except (TimeoutError, DeadlineExceededError) as error:
            raise UnavailableError("Redis did not store the events in time") from error

    async def _add(self, events: Sequence[Event]) -> None:
        async with self._redis.client.pipeline(transaction=False) as pipe:
            for event in events:
                stream = stream_name(event.topic, crc32(event.key.encode()) % PARTITIONS)
                pipe.xadd(stream, {FIELD: event.to_json()}, maxlen=self._options.max_events, approximate=True)
            await pipe.execute()

    @asynccontextmanager
    async def subscribe(
        self, topics: Sequence[Topic], *, group: str, consumer: str
    ) -> AsyncIterator[Subscription]:
        """Consume as a member of a group."""
        subscription = GroupSubscription(
            self._redis, topics, group=group, consumer=consumer, options=self._options
        )
        try:
            yield subscription
        finally:
            await subscription.leave()

    @asynccontextmanager
    async def tail(self, topics: Sequence[Topic], *, cursor: str | None) -> AsyncIterator[Subscription]:
        """Consume everything from a cursor, or from now.

        Raises
        ------
        UnavailableError
            No cursor was given and Redis can't say what "now" is.
        """
        start = cursor if cursor is not None else await self.end_cursor(topics)
        subscription = TailSubscription(self._redis, topics, cursor=start, options=self._options)
        try:
            yield subscription
        finally:
            await subscription.stop()

    async def end_cursor(self, topics: Sequence[Topic]) -> str:
        """Cursor of "now"."""
        return write_cursor(await ends(self._redis, topics))

    async def ping(self) -> None:
        """Return if Redis answers."""
        await self._redis.ping()

    async def close(self) -> None:
        """Nothing to stop: consumers close with their contexts, and the pool belongs to who opened it."""
