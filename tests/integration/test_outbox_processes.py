"""Relays in processes of their own, killed without warning, and a Postgres that is killed under them."""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import DeadlineExceededError, UnavailableError
from media_gateway.core.migrations import migrate
from media_gateway.core.outbox import OutboxRelay, OutboxRow, enqueue, enqueue_events
from media_gateway.core.ports.events import Subscription
from tests.support.waiting import eventually

KEYS = 4


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "state")
    await migrate(await server.start())
    yield server
    await server.stop()


@asynccontextmanager
async def relay_process(database_url: str, redis_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.relay_process",
        database_url,
        redis_url,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def write(database: Database, start: int, stop: int) -> None:
    """One transaction a number, repeated until it is committed for sure: a repeat may write twice, never not at all."""
    for number in range(start, stop):
        events = [
            Event(topic=Topic.CONTENT, type="content.updated", key=f"k{k}", data={"n": number}, source="test")
            for k in range(KEYS)
        ]
        while True:
            try:
                async with database.transaction() as connection:
                    await enqueue_events(connection, events)
                break
            except (UnavailableError, DeadlineExceededError):
                await asyncio.sleep(0.05)


async def read(tail: Subscription, seen: dict[str, list[int]], up_to: int) -> None:
    async def all_came() -> bool:
        for delivery in await tail.fetch(wait_ms=100):
            numbers = seen[delivery.event.key]
            if delivery.event.data["n"] not in numbers:
                numbers.append(delivery.event.data["n"])
        return len(seen) == KEYS and all(len(numbers) >= up_to for numbers in seen.values())

    await eventually(all_came, timeout_s=40)


async def test_killed_relays_and_a_killed_postgres_lose_nothing_and_reorder_nothing(
    own_postgres: EmbeddedPostgres, redis: RedisHandle, redis_url: str
):
    database = Database(own_postgres.url)
    bus = RedisStreamBus(redis)
    seen: dict[str, list[int]] = defaultdict(list)
    async with (
        bus.tail([Topic.CONTENT], cursor=None) as tail,
        relay_process(own_postgres.url, redis_url) as first,
        relay_process(own_postgres.url, redis_url),
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(database, 0, 100))
            await read(tail, seen, 20)
            first.kill()
        await read(tail, seen, 100)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(database, 100, 200))
            await read(tail, seen, 120)
            assert own_postgres.pid is not None
            os.kill(own_postgres.pid, signal.SIGKILL)
            port = own_postgres.port
            await own_postgres.stop()
            await own_postgres.start()
            assert own_postgres.port == port
        await read(tail, seen, 200)
    await database.close()
    assert all(numbers == list(range(200)) for numbers in seen.values())


async def test_a_relay_of_a_frozen_postgres_stops_in_time(own_postgres: EmbeddedPostgres, redis: RedisHandle):
    database = Database(own_postgres.url)
    entered = asyncio.Event()

    async def handle(rows: Sequence[OutboxRow]) -> None:
        entered.set()
        await asyncio.sleep(0.2)

    async with database.transaction() as connection:
        await enqueue(connection, "test", [("k", b"1")])
    before = asyncio.all_tasks()
    relay = asyncio.create_task(OutboxRelay(database, {"test": handle}).run())
    await asyncio.wait_for(entered.wait(), 10)
    assert own_postgres.pid is not None
    server = psutil.Process(own_postgres.pid)
    frozen = [server, *server.children(recursive=True)]
    for process in frozen:
        process.suspend()
    try:
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        relay.cancel()
        await asyncio.wait([relay], timeout=10)
        assert relay.cancelled()
        assert asyncio.get_running_loop().time() - started < 5.3
    finally:
        for process in frozen:
            process.resume()
    await eventually(lambda: not (asyncio.all_tasks() - before))
    await database.close()
