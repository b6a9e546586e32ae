"""Names, sizes and plain questions about the streams. No state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.domain.events import Topic

PARTITIONS = 4
"""Streams of a topic, and so the most members of a group that can work at once. All processes must agree on it."""

FIELD = "e"
"""The one field of a stream entry: the envelope as JSON."""

PREFIX = "{mgw:events}:"
BEGINNING = "0-0"


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Sizes and times of the bus.

    Attributes
    ----------
    max_events : int
        Entries kept in each stream (approximately: Redis cuts whole nodes): 80,000 a topic, of 400 bytes about 35 MB.
    publish_timeout_ms : int
        Longest ``publish`` may take.
    lease_ms : int
        How long a member that fell silent keeps its partitions.
    block_ms : int
        Longest a single blocking read waits, and so how late a consumer notices a newly given partition.
    """

    max_events: int = 20_000
    publish_timeout_ms: int = 10_000
    lease_ms: int = 10_000
    block_ms: int = 500


def stream_name(topic: Topic, partition: int) -> str:
    """Redis key of a partition."""
    return f"{PREFIX}{topic}:{partition}"


def streams_of(topics: Iterable[Topic]) -> list[str]:
    """Redis keys of all partitions of topics."""
    return [stream_name(topic, partition) for topic in topics for partition in range(PARTITIONS)]


def topic_of(stream: str) -> str:
    """Topic of a Redis key."""
    return stream.removeprefix(PREFIX).rpartition(":")[0]


def id_order(entry_id: str) -> tuple[int, int]:
    """Sort key of an entry id."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


Entry = tuple[str, str, bytes | None]
"""Stream, entry id, body; the body is None where the entry was trimmed away while it was pending."""


def entries_of(reply: Any) -> list[Entry]:
    """Flatten the answer of XREAD and XREADGROUP.

    redis-py gives a list of pairs or a mapping, depending on its version and the protocol it negotiated.
    """
    pairs = reply.items() if isinstance(reply, Mapping) else reply or ()
    found: list[Entry] = []
    for stream, entries in pairs:
        flat = entries[0] if len(entries) == 1 and isinstance(entries[0], list) else entries
        for entry_id, fields in flat:
            found.append((stream.decode(), entry_id.decode(), (fields or {}).get(FIELD.encode())))
    return found


async def ends(redis: RedisHandle, topics: Sequence[Topic]) -> dict[str, str]:
    """Id of the newest entry of each stream, ``0-0`` for an empty one."""
    names = streams_of(topics)
    with translated():
        async with redis.client.pipeline(transaction=True) as pipe:
            for name in names:
                pipe.xrevrange(name, count=1)
            replies = await pipe.execute()
    return {
        name: reply[0][0].decode() if reply else BEGINNING for name, reply in zip(names, replies, strict=True)
    }


async def overtaken(redis: RedisHandle, positions: Mapping[str, str], *, max_events: int) -> list[str]:
    """Streams in which entries after a position may be gone: trimmed, or lost with the server's data.

    Redis cuts a stream at its old end only, so nothing is missing after a position whose entry (or an older one) still
    exists. A position before the first entry ever is safe while the stream is too short to have been cut.
    """
    names = list(positions)
    with translated():
        async with redis.client.pipeline(transaction=True) as pipe:
            for name in names:
                pipe.xrange(name, count=1)
                pipe.xlen(name)
            replies = await pipe.execute()
    gaps = []
    for name, oldest, length in zip(names, replies[::2], replies[1::2], strict=True):
        position = positions[name]
        if position == BEGINNING:
            gone = length >= max_events
        else:
            gone = not oldest or id_order(oldest[0][0].decode()) > id_order(position)
        if gone:
            gaps.append(name)
    return gaps
