"""Outbox relay: events per second from Postgres through the bus, and event → consumer latency at 30 % of that.

Embedded Postgres and Redis of the production kind, one process for writer, relay and consumer. Each round measures the
floor (the same rows read, pipelined with bare XADD and deleted, in batches of the relay's size, with no guarantee) and
the relay, in alternating order; the median of the rounds and their spread are reported. Run alone on an idle machine:

    python benchmarks/relay.py [--events 20000] [--rounds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa
import uvloop
from rich.console import Console
from rich.table import Table

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.migrations import migrate
from media_gateway.core.outbox import EVENTS, OutboxRelay, RelayPolicy, enqueue_events, publish_to
from media_gateway.core.ports.events import EventBus

TARGET_EVENTS_PER_S = 5_000
TARGET_P99_MS = 50
LOAD_SHARE = 0.3
KEYS = 500
PER_TRANSACTION = 10


@dataclass(frozen=True)
class Result:
    """What is reported."""

    events: int
    rounds: int
    floor_events_per_s: float
    relay_events_per_s: float
    relay_spread: tuple[float, float]
    share_of_floor: float
    enqueue_us_per_event: float
    load_events_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float


def events(count: int) -> list[Event]:
    """Content events of the usual size (about 350 bytes)."""
    return [
        Event(
            topic=Topic.CONTENT,
            type="content.updated",
            key=f"0199c3a1-0000-7000-8000-{n % KEYS:012}",
            data={
                "content_id": f"0199c3a1-0000-7000-8000-{n % KEYS:012}",
                "changes": ["title", "genres"],
                "n": n,
            },
            source="ingestion",
        )
        for n in range(count)
    ]


async def fill(database: Database, batch: Sequence[Event]) -> float:
    """Enqueue in transactions of 500; returns microseconds an event."""
    spent = 0.0
    for start in range(0, len(batch), 500):
        async with database.transaction() as connection:
            began = time.perf_counter()
            await enqueue_events(connection, batch[start : start + 500])
            spent += time.perf_counter() - began
    return spent / len(batch) * 1e6


async def floor(database: Database, redis: RedisHandle, count: int) -> float:
    """Seconds for the bare calls."""
    size = RelayPolicy().batch_size
    began = time.perf_counter()
    moved = 0
    while moved < count:
        async with database.transaction() as connection:
            found = await connection.execute(
                sa.text("SELECT id, body FROM outbox WHERE destination = 'events' ORDER BY id LIMIT :n"),
                {"n": size},
            )
            rows = found.all()
            async with redis.client.pipeline(transaction=False) as pipe:
                for _, body in rows:
                    pipe.xadd("floor", {"e": body}, maxlen=20_000, approximate=True)
                await pipe.execute()
            await connection.execute(
                sa.text("DELETE FROM outbox WHERE destination = 'events' AND id = ANY(:ids)"),
                {"ids": [row[0] for row in rows]},
            )
        moved += len(rows)
    return time.perf_counter() - began


async def relayed(database: Database, bus: EventBus, count: int) -> float:
    """Seconds until everything is on the bus and its row deleted."""
    relay = OutboxRelay(database, {EVENTS: publish_to(bus)})
    began = time.perf_counter()
    if not await relay.drain(timeout_s=300):
        raise RuntimeError(f"{count} events were not relayed in 300 s")
    return time.perf_counter() - began


async def latencies(database: Database, bus: EventBus, rate: float, seconds: float) -> list[float]:
    """Milliseconds from just before the commit of an event to its arrival at a member of a group."""
    committed: dict[int, float] = {}
    taken: list[float] = []
    total = int(rate * seconds) // PER_TRANSACTION * PER_TRANSACTION
    batch = events(total)
    relay = asyncio.create_task(OutboxRelay(database, {EVENTS: publish_to(bus)}).run())

    async def consume() -> None:
        async with bus.subscribe([Topic.CONTENT], group="bench", consumer="bench") as member:
            await member.fetch(wait_ms=0)
            ready.set()
            while len(taken) < total:
                found = await member.fetch(max_events=500, wait_ms=1000)
                now = time.perf_counter()
                taken.extend(
                    (now - committed[d.event.data["n"]]) * 1000
                    for d in found
                    if d.event.data["n"] in committed
                )
                await member.ack(found)

    ready = asyncio.Event()
    consumer = asyncio.create_task(consume())
    await ready.wait()
    began = time.perf_counter()
    for start in range(0, total, PER_TRANSACTION):
        await asyncio.sleep(max(0.0, began + start / rate - time.perf_counter()))
        async with database.transaction() as connection:
            part = batch[start : start + PER_TRANSACTION]
            await enqueue_events(connection, part)
            committed.update(dict.fromkeys(range(start, start + len(part)), time.perf_counter()))
    await asyncio.wait_for(consumer, 60)
    relay.cancel()
    await asyncio.wait([relay])
    return taken


@asynccontextmanager
async def servers() -> AsyncIterator[tuple[Database, RedisHandle]]:
    """Fresh embedded servers."""
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        async with (
            EmbeddedPostgres(Path(folder) / "s") as postgres_url,
            EmbeddedRedis(Path(folder) / "s") as redis_url,
        ):
            await migrate(postgres_url)
            database, redis = Database(postgres_url), RedisHandle(redis_url)
            yield database, redis
            await redis.close()
            await database.close()


async def measure(count: int, rounds: int) -> Result:
    floors, relays, enqueues = [], [], []
    async with servers() as (database, redis):
        bus = RedisStreamBus(redis)
        batch = events(count)
        await fill(database, batch[:2_000])
        await relayed(database, bus, 2_000)
        for number in range(rounds):
            for kind in ("floor", "relay") if number % 2 else ("relay", "floor"):
                enqueues.append(await fill(database, batch))
                if kind == "floor":
                    floors.append(count / await floor(database, redis, count))
                else:
                    relays.append(count / await relayed(database, bus, count))
        speed = statistics.median(relays)
        await redis.client.flushdb()
        taken = sorted(await latencies(database, bus, LOAD_SHARE * speed, seconds=10))
    return Result(
        events=count,
        rounds=rounds,
        floor_events_per_s=round(statistics.median(floors)),
        relay_events_per_s=round(speed),
        relay_spread=(round(min(relays)), round(max(relays))),
        share_of_floor=round(speed / statistics.median(floors), 2),
        enqueue_us_per_event=round(statistics.median(enqueues), 1),
        load_events_per_s=round(LOAD_SHARE * speed),
        latency_p50_ms=round(taken[len(taken) // 2], 1),
        latency_p99_ms=round(taken[int(len(taken) * 0.99)], 1),
    )


def show(result: Result) -> None:
    low, high = result.relay_spread
    table = Table(title=f"Outbox relay, redis-stream, {result.events} events × {result.rounds} rounds")
    for heading in ("figure", "measured", "beside it"):
        table.add_column(heading)
    table.add_row(
        "relay", f"{result.relay_events_per_s:,}/s ({low:,} to {high:,})", f"target {TARGET_EVENTS_PER_S:,}/s"
    )
    table.add_row("floor", f"{result.floor_events_per_s:,}/s", f"relay is {result.share_of_floor:.0%} of it")
    table.add_row("enqueue", f"{result.enqueue_us_per_event} µs/event", "one statement, 500 events")
    table.add_row(
        f"event → consumer at {result.load_events_per_s:,}/s",
        f"p50 {result.latency_p50_ms} ms, p99 {result.latency_p99_ms} ms",
        f"target p99 {TARGET_P99_MS} ms",
    )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    arguments = parser.parse_args()
    result = uvloop.run(measure(arguments.events, arguments.rounds))
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
