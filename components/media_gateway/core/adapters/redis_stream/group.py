"""A member of a consumer group.

Each partition it holds is a lane: first everything the group has pending there (left by members that died, or handed out
by us and never acknowledged) in order, then new entries. A reply that got lost on its way is read again from the
pending list, so an error costs nothing but time.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import structlog

from media_gateway.core.adapters.envelopes import LOST, pause, read_envelope
from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.adapters.redis_stream.leases import Leases
from media_gateway.core.adapters.redis_stream.streams import (
    BEGINNING,
    Entry,
    StreamOptions,
    entries_of,
    overtaken,
    streams_of,
    topic_of,
)
from media_gateway.core.domain.events import Topic
from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError, UnavailableError
from media_gateway.core.ports.events import Delivery

READ_COUNT = 200
"""Entries read at once from each partition."""

IDLE_S = 0.05
"""Pause of a member that holds no partition before it looks again, in seconds."""

_log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Lane:
    """A held partition."""

    stream: str
    read_up_to: str = BEGINNING
    given_up_to: str = BEGINNING
    recovering: bool = True
    """Whether entries are read from the pending list, not yet from the stream's end."""
    leaving: bool = False
    """Over our share: not read any more, given back once nothing is in work."""
    in_work: set[str] = field(default_factory=set)


class GroupSubscription:
    """Implements the port `Subscription`."""

    def __init__(
        self,
        redis: RedisHandle,
        topics: Sequence[Topic],
        *,
        group: str,
        consumer: str,
        options: StreamOptions,
    ) -> None:
        self._redis = redis
        self._client = redis.blocking_client(wait_ms=options.block_ms)
        self._options = options
        self._group = group
        self._member = f"{consumer}-{uuid4().hex[:8]}"
        self._streams = streams_of(topics)
        self._leases = Leases(
            redis, group=group, member=self._member, partitions=self._streams, ttl_ms=options.lease_ms
        )
        self._lanes: dict[str, _Lane] = {}
        self._buffer: deque[tuple[_Lane, Entry]] = deque()
        self._to_ack: dict[str, set[str]] = {}
        self._valid_until = 0.0
        self._joined = False
        self._renewing = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def fetch(self, *, max_events: int = 100, wait_ms: int = 1000) -> list[Delivery]:
        """Next events of the partitions held. With more members than partitions some stay empty-handed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_ms / 1000
        try:
            await self._join()
            while True:
                left_ms = int((end - loop.time()) * 1000)
                if not self._buffer:
                    await self._read(min(left_ms, self._options.block_ms))
                deliveries = await self._take(max_events)
                if deliveries or left_ms <= 0:
                    return deliveries
        except (UnavailableError, DeadlineExceededError) as error:
            await pause(end)
            raise UnavailableError(error.message) from error

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Mark as done."""
        await self._ack([delivery.position for delivery in deliveries])

    async def leave(self) -> None:
        """Give the partitions back, so that others go on at once, and close the connection."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal], timeout=1)
        try:
            # Without this the others wait for the leases to end.
            async with asyncio.timeout(2):
                if self._joined:
                    await self._leases.leave()
        except (MediaGatewayError, TimeoutError):
            _log.info("left a consumer group without notice", group=self._group)
        with translated():
            await self._client.aclose()

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._joined:
            await self._make_groups()
            await self._renew()
            self._joined = True
        elif loop.time() >= self._valid_until:
            # The renewals failed for so long that others may have taken over.
            await self._renew()
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._keep_renewing(), name=f"leases of {self._member}")

    async def _make_groups(self) -> None:
        for stream in self._streams:
            try:
                with translated():
                    await self._client.xgroup_create(stream, self._group, id="0", mkstream=True)
            except MediaGatewayError as error:
                if error.details.get("reply") != "BUSYGROUP":
                    raise

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._options.lease_ms / 4000)
            try:
                await self._renew()
            except MediaGatewayError as error:
                _log.warning("leases not renewed", group=self._group, error=error.message)

    async def _renew(self) -> None:
        async with self._renewing:
            await self._ack(())
            asked_at = asyncio.get_running_loop().time()
            given_back = [lane.stream for lane in self._lanes.values() if lane.leaving and not lane.in_work]
            for stream in given_back:
                del self._lanes[stream]
            share, held = await self._leases.hold(given_back)
            for stream in self._lanes.keys() - set(held):
                _log.info("partition lost", group=self._group, stream=stream)
                del self._lanes[stream]
            for stream in held:
                if stream not in self._lanes:
                    await self._take_over(stream)
            self._mark_leaving(share)
            self._valid_until = asked_at + self._options.lease_ms / 1000

    def _mark_leaving(self, share: int) -> None:
        for number, lane in enumerate(self._lanes.values()):
            lane.leaving = number >= share
            if lane.leaving:
                # What is buffered stays pending; should the lane remain ours, it is read from there.
                lane.read_up_to, lane.recovering = lane.given_up_to, True
        self._buffer = deque(
            (lane, entry)
            for lane, entry in self._buffer
            if self._lanes.get(lane.stream) is lane and not lane.leaving
        )

    async def _take_over(self, stream: str) -> None:
        try:
            await self._leases.claim(stream)
        except MediaGatewayError as error:
            if error.details.get("reply") != "NOGROUP":
                raise
            await self._make_groups()
        await self._note_gaps({stream: await self._delivered_up_to(stream)})
        self._lanes[stream] = _Lane(stream)

    async def _delivered_up_to(self, stream: str) -> str:
        with translated():
            groups = await self._client.xinfo_groups(stream)
        for group in groups:
            if group["name"] == self._group.encode():
                return bytes(group["last-delivered-id"]).decode()
        return BEGINNING

    async def _note_gaps(self, positions: dict[str, str]) -> None:
        for stream in await overtaken(self._redis, positions, max_events=self._options.max_events):
            LOST.labels(topic_of(stream), self._group).inc()
            _log.error("events were cut off before the group read them", group=self._group, stream=stream)

    async def _read(self, block_ms: int) -> None:
        lanes = [lane for lane in self._lanes.values() if not lane.leaving]
        pending = {lane.stream: lane for lane in lanes if lane.recovering}
        if pending:
            found = await self._read_lanes(pending, None)
            for stream in pending.keys() - {stream for stream, _, _ in found}:
                pending[stream].recovering = False
        elif lanes:
            await self._read_lanes({lane.stream: lane for lane in lanes}, block_ms if block_ms > 0 else None)
        else:
            await asyncio.sleep(IDLE_S)

    async def _read_lanes(self, lanes: dict[str, _Lane], block_ms: int | None) -> list[Entry]:
        # redis-py declares invariant wider types.
        start: dict[Any, Any] = {
            stream: lane.read_up_to if lane.recovering else ">" for stream, lane in lanes.items()
        }
        before = {stream: lane.read_up_to for stream, lane in lanes.items() if not lane.recovering}
        try:
            with translated():
                reply = await self._client.xreadgroup(
                    self._group, self._member, start, count=READ_COUNT, block=block_ms
                )
        except BaseException as error:
            # The server may have handed entries to us in an answer we never saw.
            for lane in lanes.values():
                lane.recovering = True
            if isinstance(error, MediaGatewayError) and error.details.get("reply") == "NOGROUP":
                await self._start_over()
                return []
            raise
        found = entries_of(reply)
        for entry in found:
            stream, entry_id, _ = entry
            lane = lanes[stream]
            lane.read_up_to = entry_id
            if self._lanes.get(stream) is lane and not lane.leaving:
                self._buffer.append((lane, entry))
        counts = Counter(stream for stream, _, _ in found)
        full = {
            s: before[s]
            for s, count in counts.items()
            if count >= READ_COUNT and before.get(s, BEGINNING) != BEGINNING
        }
        if full:
            await self._note_gaps(full)
        return found

    async def _start_over(self) -> None:
        _log.error(
            "Redis lost the consumer group; reading from the oldest event it still has", group=self._group
        )
        self._buffer.clear()
        self._lanes.clear()
        await self._make_groups()
        await self._renew()

    async def _take(self, max_events: int) -> list[Delivery]:
        taken: list[Delivery] = []
        unreadable: list[str] = []
        while self._buffer and len(taken) < max_events:
            lane, (stream, entry_id, body) = self._buffer.popleft()
            lane.in_work.add(entry_id)
            lane.given_up_to = entry_id
            position = f"{stream}|{entry_id}"
            event = read_envelope(body, topic=topic_of(stream), position=entry_id)
            if event is None:
                unreadable.append(position)
            else:
                taken.append(Delivery(event, position, ""))
        if unreadable:
            await self._ack(unreadable)
        return taken

    async def _ack(self, positions: Sequence[str]) -> None:
        for position in positions:
            stream, _, entry_id = position.rpartition("|")
            self._to_ack.setdefault(stream, set()).add(entry_id)
        if not self._to_ack:
            return
        with translated():
            async with self._redis.client.pipeline(transaction=False) as pipe:
                for stream, ids in self._to_ack.items():
                    pipe.xack(stream, self._group, *ids)
                sent, self._to_ack = self._to_ack, {}
                try:
                    await pipe.execute()
                except BaseException:
                    # To be sent again with the next ones, or with the next renewal.
                    for stream, ids in sent.items():
                        self._to_ack.setdefault(stream, set()).update(ids)
                    raise
        for stream, ids in sent.items():
            if lane := self._lanes.get(stream):
                lane.in_work -= ids
