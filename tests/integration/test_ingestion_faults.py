"""Postgres, Redis and the vector store go away in the middle of a run; everything is there once they are back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Topic
from media_gateway.core.domain.vectors import VectorPoint
from media_gateway.core.errors import UnavailableError
from media_gateway.core.migrations import migrate
from media_gateway.core.outbox import OutboxRelay, RelayPolicy
from media_gateway.ingestion.runs import RunState
from media_gateway.ingestion.services.meter import Progress
from media_gateway.ingestion.services.relays import events_relay
from media_gateway.ingestion.services.vectors import VectorWriter
from tests.support.ingestion import (
    WordEmbedder,
    all_dead_letters,
    bad_film,
    file_job,
    film,
    make_runner,
    scalar,
    write_ndjson,
)
from tests.support.waiting import eventually


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_run_waits_for_postgres_and_continues_without_loss_or_twins(state_path: Path, tmp_path: Path):
    total = 1_000
    records = [bad_film(n) if n % 100 == 0 else film(n) for n in range(1, total + 1)]
    job = file_job(write_ndjson(tmp_path / "f.ndjson", records), parallelism=2)
    server = EmbeddedPostgres(state_path, durable=False)
    url = await server.start()
    try:
        await migrate(url)
        database = Database(url)
        runner = make_runner(database)
        run = await runner.open(job, origin="cli")
        latest = [Progress(counts=run.counts)]
        task = asyncio.create_task(runner.execute(run.id, on_progress=latest.append))
        await eventually(lambda: latest[-1].counts.read >= 50, timeout_s=30)

        await server.stop()
        await eventually(lambda: latest[-1].waiting_for, timeout_s=30)
        assert not task.done()
        assert await server.start() == url

        async with asyncio.timeout(90):
            result = await task
        assert result.run.state is RunState.COMPLETE
        assert (result.run.counts.read, result.run.counts.failed) == (total, total // 100)
        letters = await all_dead_letters(runner, run.id)
        assert [letter.line for letter in letters] == list(range(100, total + 1, 100))
        assert await scalar(database, "SELECT count(*) FROM contents") == total - total // 100
        await database.close()
    finally:
        await server.stop()


async def test_run_does_not_need_redis_and_its_events_arrive_once_redis_is_back(
    database: Database, state_path: Path, tmp_path: Path
):
    server = EmbeddedRedis(state_path)
    handle = RedisHandle(await server.start(), timeout_ms=500)
    bus = RedisStreamBus(handle)
    runner = make_runner(database)
    try:
        async with running(events_relay(database, bus, RelayPolicy())):
            first = file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 101))))
            await runner.execute((await runner.open(first, origin="cli")).id)
            await server.stop()
            more = file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 301))), batchSize=50)
            result = await runner.execute((await runner.open(more, origin="cli")).id)
            assert result.run.state is RunState.COMPLETE
            assert await scalar(database, "SELECT count(*) FROM outbox WHERE destination = 'events'") >= 200
            await server.start()

            async def is_empty() -> bool:
                return not await scalar(database, "SELECT count(*) FROM outbox WHERE destination = 'events'")

            await eventually(is_empty, timeout_s=60)
        heard: set[str] = set()
        async with bus.subscribe([Topic.CONTENT], group="test", consumer="one") as subscription:

            async def heard_all() -> bool:
                deliveries = await subscription.fetch(max_events=500, wait_ms=200)
                heard.update(d.event.key for d in deliveries if d.event.type == "content.ingested")
                await subscription.ack(deliveries)
                return len(heard) == 300

            await eventually(heard_all, timeout_s=30)
    finally:
        await bus.close()
        await handle.close()
        await server.stop()


class FaultyIndex(PgvectorIndex):
    """Can be switched off."""

    available = True

    async def upsert_batch(self, points: Sequence[VectorPoint]) -> None:
        if not self.available:
            raise UnavailableError("the vector store is away")
        await super().upsert_batch(points)


async def test_vectors_catch_up_after_the_store_and_the_model_were_away(database: Database, tmp_path: Path):
    index, embedder = FaultyIndex(database), WordEmbedder()
    index.available = embedder.available = False
    writer = VectorWriter(database, index, embedder)
    runner = make_runner(database)
    async with running(writer.relay()):
        job = file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 251))), batchSize=100)
        result = await runner.execute((await runner.open(job, origin="cli")).id)
        assert result.run.state is RunState.COMPLETE
        assert await writer.backlog() == 250
        embedder.available = True
        await eventually(lambda: embedder.embedded)
        assert await writer.backlog() == 250
        index.available = True

        async def all_there() -> bool:
            return await writer.backlog() == 0

        await eventually(all_there, timeout_s=60)
    assert await index.count() == 250
    assert await scalar(database, "SELECT count(*) FROM outbox_rejected") == 0
