"""Counting through outages of the bus and of the database: later, never less and never twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.errors import MediaGatewayError, UnavailableError
from media_gateway.core.migrations import migrate
from media_gateway.discovery.activity_feed import ActivityFeed
from tests.support.activity import clicked, counting, counts
from tests.support.discovery import running_discovery
from tests.support.films import Film, save
from tests.support.own_servers import killed, paused
from tests.support.search_admin import Person
from tests.support.waiting import eventually

FILM = Film(title="Alien")
TOTAL = 300


async def publish_through(bus: RedisStreamBus, start: int, stop: int) -> None:
    """As the relay does: the same events again until they are stored."""
    for number in range(start, stop, 10):
        events = [clicked(FILM.id, f"user-{one}") for one in range(number, number + 10)]
        while True:
            try:
                await bus.publish(events)
            except UnavailableError:
                await asyncio.sleep(0.05)
            else:
                break
        await asyncio.sleep(0.02)


async def counted(database: Database, number: float) -> None:
    async def so_many() -> bool:
        try:
            return await counts(database) == {FILM.id: number}
        except MediaGatewayError:
            return False

    await eventually(so_many, timeout_s=40)


async def tells(feed: ActivityFeed, *, well: bool) -> None:
    async def told() -> bool:
        return (await feed.health() is None) is well

    await eventually(told, timeout_s=20)


@pytest.mark.parametrize("outage", ["killed", "paused"])
async def test_a_bus_that_goes_and_comes_back_costs_time_and_no_count(database, tmp_path, outage):
    await save(database, FILM, announce=False)
    server = EmbeddedRedis(tmp_path / "redis")
    url = await server.start()
    handle = RedisHandle(url, timeout_ms=500)
    bus = RedisStreamBus(handle)

    async def interrupted(feed: ActivityFeed) -> None:
        for _ in range(2):
            await asyncio.sleep(0.3)
            if outage == "killed":
                await killed(server)
                await tells(feed, well=False)
                assert await server.start() == url
            else:
                with paused(server):
                    await tells(feed, well=False)
            await tells(feed, well=True)

    try:
        async with counting(database, handle) as feed, asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_through(bus, 0, TOTAL))
            tasks.create_task(interrupted(feed))
            tasks.create_task(counted(database, float(TOTAL)))
    finally:
        await bus.close()
        await handle.close()
        await server.stop()


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedPostgres, str, Database]]:
    """A server of one's own with the film in its catalogue, its address, and its database."""
    server = EmbeddedPostgres(tmp_path / "state", durable=False)
    url = await server.start()
    await migrate(url)
    database = Database(url)
    await save(database, FILM, announce=False)
    yield server, url, database
    await database.close()
    await server.stop()


async def test_a_database_that_goes_and_comes_back_costs_time_and_no_count(own, redis):
    server, url, database = own
    bus = RedisStreamBus(redis)

    async def interrupted(feed: ActivityFeed) -> None:
        for _ in range(2):
            await asyncio.sleep(0.2)
            await server.stop()
            await tells(feed, well=False)
            assert await server.start() == url
            await tells(feed, well=True)

    try:
        async with counting(database, redis) as feed, asyncio.TaskGroup() as tasks:
            tasks.create_task(publish_through(bus, 0, TOTAL))
            tasks.create_task(interrupted(feed))
        await bus.publish([clicked(FILM.id, f"user-{number}") for number in range(TOTAL)])
        async with counting(database, redis):
            # Other events of the same people on the same day: they change nothing either.
            await counted(database, float(TOTAL))
    finally:
        await bus.close()


async def test_a_consumer_stopped_while_the_database_is_away_loses_nothing(own, redis):
    server, _, database = own
    bus = RedisStreamBus(redis)
    try:
        await server.stop()
        async with counting(database, redis) as feed:
            await publish_through(bus, 0, 50)
            await tells(feed, well=False)
        await server.start()
        async with counting(database, redis):
            await counted(database, 50.0)
    finally:
        await bus.close()


async def test_health_tells_and_everything_else_goes_on(own, redis, redis_url):
    server, url, database = own
    async with running_discovery(url, redis_url) as discovery:

        async def part_is(status: str) -> dict[str, Any]:
            part = await discovery.part("activity")
            assert part["status"] == status, part
            assert part["critical"] is False
            return part

        async def indexed() -> bool:
            return bool((await discovery.get("/api/v1/content/popular"))[1]["results"])

        await eventually(indexed, timeout_s=60)
        search_id, _ = await Person(discovery, "user-1").search("alien")
        assert await Person(discovery, "user-1").click(search_id, FILM.id) == 202
        await counted(database, 1.0)
        await eventually(lambda: part_is("healthy"))
        await server.stop()
        await RedisStreamBus(redis).publish([clicked(FILM.id, "user-2")])
        part = await eventually(lambda: part_is("degraded"), timeout_s=20)
        assert "can't be counted" in part["message"]
        status, problem = await discovery.get("/api/v1/content/popular?window=day")
        assert (status, problem["retryable"]) == (503, True)
        assert (await discovery.get("/api/v1/content/popular"))[0] == 200
        await server.start()
        await counted(database, 2.0)
        await eventually(lambda: part_is("healthy"), timeout_s=20)
