"""A consumer that reads everything by itself, from a cursor (for example a replica that keeps an index)."""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from media_gateway.core.adapters.envelopes import pause, read_envelope
from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.adapters.redis_stream.streams import (
    Entry,
    StreamOptions,
    entries_of,
    id_order,
    overtaken,
    streams_of,
    topic_of,
)
from media_gateway.core.domain.events import Topic
from media_gateway.core.errors import ConflictError, DeadlineExceededError, UnavailableError
from media_gateway.core.ports.events import Delivery

READ_COUNT = 500
"""Entries read at once from each stream. Below the length of any stream, see `TailSubscription._read`."""


def write_cursor(positions: Mapping[str, str]) -> str:
    """Cursor text of a position in each stream."""
    return orjson.dumps(dict(positions)).decode()


def read_cursor(cursor: str, topics: Sequence[Topic]) -> dict[str, str]:
    """Positions of a cursor.

    Raises
    ------
    ConflictError
        It is not a cursor of this bus and these topics (the installation changed its bus, for example).
    """
    try:
        raw = orjson.loads(cursor)
        positions = {name: str(raw[name]) for name in streams_of(topics)}
        for entry_id in positions.values():
            id_order(entry_id)
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError("the cursor is not of this event bus; rebuild from the database") from error
    return positions


class TailSubscription:
    """Implements the port `Subscription`; ``ack`` does nothing, the reader keeps the cursor."""

    def __init__(
        self, redis: RedisHandle, topics: Sequence[Topic], *, cursor: str, options: StreamOptions
    ) -> None:
        self._redis = redis
        self._client = redis.blocking_client(wait_ms=options.block_ms)
        self._options = options
        self._topics = topics
        self._cursor: str | None = cursor
        self._read_up_to: dict[Any, Any] = {}  # redis-py declares invariant wider types
        self._given_up_to: dict[str, str] = {}
        self._buffer: deque[Entry] = deque()
        self._checked = False

    async def fetch(self, *, max_events: int = 100, wait_ms: int = 1000) -> list[Delivery]:
        """Next events of all partitions."""
        if self._cursor is not None:
            self._read_up_to = read_cursor(self._cursor, self._topics)
            self._given_up_to = dict(self._read_up_to)
            self._cursor = None
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_ms / 1000
        try:
            while True:
                left_ms = int((end - loop.time()) * 1000)
                if not self._buffer:
                    await self._read(min(left_ms, self._options.block_ms))
                deliveries = self._take(max_events)
                if deliveries or left_ms <= 0:
                    return deliveries
        except (UnavailableError, DeadlineExceededError) as error:
            await pause(end)
            raise UnavailableError(error.message) from error

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Close the connection."""
        with translated():
            await self._client.aclose()

    async def _read(self, block_ms: int) -> None:
        positions = self._read_up_to
        if not self._checked:
            await self._check(positions)
            self._checked = True
        try:
            with translated():
                reply = await self._client.xread(
                    positions, count=READ_COUNT, block=block_ms if block_ms > 0 else None
                )
        except BaseException:
            self._checked = False
            raise
        found = entries_of(reply)
        counts = Counter(stream for stream, _, _ in found)
        # After a position, a stream that answers with fewer entries than asked for is not long enough to have been cut
        # there: only full answers can hide a gap.
        full = {stream: positions[stream] for stream, count in counts.items() if count >= READ_COUNT}
        if full:
            await self._check(full)
        positions.update((stream, entry_id) for stream, entry_id, _ in found)
        self._buffer.extend(found)

    async def _check(self, positions: Mapping[str, str]) -> None:
        if await overtaken(self._redis, positions, max_events=self._options.max_events):
            raise ConflictError("events after the cursor are gone; rebuild from the database")

    def _take(self, max_events: int) -> list[Delivery]:
        taken: list[Delivery] = []
        while self._buffer and len(taken) < max_events:
            stream, entry_id, body = self._buffer.popleft()
            self._given_up_to[stream] = entry_id
            event = read_envelope(body, topic=topic_of(stream), position=entry_id)
            if event is not None:
                taken.append(Delivery(event, f"{stream}|{entry_id}", write_cursor(self._given_up_to)))
        return taken
