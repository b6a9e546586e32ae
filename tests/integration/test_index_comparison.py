"""The periodic comparison of the text index with Postgres: two numbers as long as nothing was missed, else a repair."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.discovery.fingerprint import Fingerprint
from media_gateway.discovery.generation import CatalogueGeneration
from media_gateway.discovery.index_feed import Indexes, IndexFeed
from media_gateway.discovery.store import CatalogueReader
from media_gateway.discovery.suggestions import Suggestions
from media_gateway.discovery.text_index import TextIndex
from tests.support.examples import for_all
from tests.support.films import Film, Offer, remove, save

IDS = [UUID(int=number * 2**120 + number) for number in range(6)]
TIMES = (
    "1969-12-31 23:59:59.999999+00",
    "1970-01-01 00:00:00+00",
    "2024-02-29 12:00:00.000001+00",
    "2026-11-26 01:02:03.456789+01",
    "9999-12-31 23:59:59.999999+00",
)


class Watched(CatalogueReader):
    """The catalogue, and how often all its revisions were read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.readings = 0

    async def revisions(self, after: UUID | None, *, limit: int) -> list[tuple[UUID, int]]:
        self.readings += after is None
        return await super().revisions(after, limit=limit)


class World:
    """An index, its feed and the catalogue."""

    def __init__(self, database: Database, redis: RedisHandle, bus: RedisStreamBus) -> None:
        self.catalogue, self.index = Watched(database), TextIndex()
        indexes = Indexes(self.index, Suggestions(), CatalogueGeneration(redis))
        self.feed = IndexFeed(self.catalogue, bus, indexes, batch_ms=10, reconcile_s=60)

    async def look(self) -> int:
        """A periodic comparison: how many contents it found to be changed."""
        return await self.feed.reconcile("periodic")

    async def agrees(self) -> bool:
        return self.index.fingerprint() == await self.catalogue.fingerprint()


@pytest.fixture
async def world(database: Database, redis: RedisHandle) -> AsyncIterator[World]:
    async with opened(database, redis) as world:
        yield world


@asynccontextmanager
async def opened(database: Database, redis: RedisHandle) -> AsyncIterator[World]:
    bus = RedisStreamBus(redis)
    world = World(database, redis, bus)
    try:
        yield world
    finally:
        world.feed.close()
        await bus.close()


def comparisons(outcome: str) -> float:
    labels = {"reason": "periodic", "outcome": outcome}
    return REGISTRY.get_sample_value("mgw_index_comparisons_total", labels) or 0.0


async def test_an_empty_catalogue_and_an_empty_index_are_equal(world):
    assert await world.look() == 0
    assert await world.catalogue.fingerprint() == Fingerprint(0, 0)
    assert await world.agrees()


async def test_after_a_build_the_looks_read_two_numbers_only(database, world):
    await save(database, *(Film(title=f"Film {n}") for n in range(1_200)), announce=False)
    assert await world.feed.reconcile("start") == 1_200
    assert (world.catalogue.readings, len(world.index)) == (1, 1_200)
    before = comparisons("equal")
    for _ in range(3):
        assert await world.look() == 0
    assert world.catalogue.readings == 1
    assert comparisons("equal") - before == 3


@pytest.mark.parametrize("change", ["changed", "changed back", "added", "removed", "deleted", "swapped"])
async def test_what_was_done_behind_the_bus_is_repaired_at_the_next_look(database, world, change):
    films = [Film(title=f"Film {n}") for n in range(20)]
    await save(database, *films, announce=False)
    await world.feed.reconcile("start")
    target, repaired = films[7], comparisons("repaired")
    if change == "changed":
        target.title = "Renamed"
        await save(database, target, announce=False)
    elif change == "changed back":
        # The same facts at another time are another revision.
        await save(database, target, announce=False)
    elif change == "added":
        await save(database, Film(title="Newcomer"), announce=False)
    elif change == "removed":
        await remove(database, target.id)
    else:
        await sql(database, "DELETE FROM contents WHERE id = :id", id=target.id)
    if change == "swapped":
        # The count stays.
        await save(database, Film(title="Substitute"), announce=False)
    assert await world.look() == (2 if change == "swapped" else 1)
    assert comparisons("repaired") - repaired == 1
    assert await world.agrees()
    assert await world.look() == 0


async def test_offerings_that_turn_by_the_clock_are_seen_by_a_look_that_finds_nothing_else(database, world):
    film = Film(title="Last Chance", offerings=(Offer(platform="netflix"),))
    await save(database, film, announce=False)
    await world.feed.reconcile("start")
    assert platforms(world, film.id) == ("netflix",)
    readings = world.catalogue.readings
    await sql(database, "UPDATE offerings SET available_until = clock_timestamp()")
    assert await world.look() == 1
    assert platforms(world, film.id) == ()
    assert world.catalogue.readings == readings, "both sides hold the same revisions"


async def test_an_event_that_arrives_during_the_look_is_no_repair(database, world):
    await save(database, Film(title="First"), announce=False)
    await world.feed.reconcile("start")
    late = Film(title="Late")
    await save(database, late, announce=False)
    fingerprint = world.catalogue.fingerprint

    async def overtaken() -> Fingerprint:
        found: Fingerprint = await fingerprint()
        world.index.apply(await world.catalogue.contents([late.id]))
        return found

    world.catalogue.fingerprint = overtaken
    before = comparisons("caught_up")
    assert await world.look() == 0
    assert comparisons("caught_up") - before == 1


async def test_index_and_database_come_to_the_same_numbers_by_any_way(database, redis):
    """Whatever is written, removed and brought back, at whatever times, and in whatever order the index hears of it."""
    steps = st.tuples(st.sampled_from(IDS), st.sampled_from([None, *TIMES]))
    changes = st.lists(st.lists(steps, min_size=1, max_size=4), max_size=6)
    check = partial(walk, database, redis)
    await for_all(check, max_examples=40, changes=changes, seed=st.integers(0, 999))


async def walk(
    database: Database, redis: RedisHandle, changes: Sequence[Sequence[tuple[UUID, str | None]]], seed: int
) -> None:
    await sql(database, "DELETE FROM contents")
    rng = random.Random(seed)
    async with opened(database, redis) as world:
        for batch in changes:
            for content_id, updated_at in batch:
                await change(database, content_id, updated_at)
            ids = [content_id for content_id, _ in batch]
            contents = await world.catalogue.contents(ids)
            rng.shuffle(contents)
            world.index.apply(contents, list(set(ids) - {content.content_id for content in contents}))
            assert await world.agrees()
        await change(database, IDS[0], TIMES[2])
        world.index.apply(await world.catalogue.contents([IDS[0]]))
        known = await world.catalogue.fingerprint()
        assert world.index.fingerprint() == known
        await sql(database, "UPDATE contents SET updated_at = updated_at + interval '1 microsecond'")
        assert await world.catalogue.fingerprint() != known


async def change(database: Database, content_id: UUID, updated_at: str | None) -> None:
    if updated_at is None:
        await sql(database, "UPDATE contents SET removed_at = now() WHERE id = :id", id=content_id)
        return
    await save(database, Film(id=content_id, title="Film"), announce=False)
    statement = "UPDATE contents SET updated_at = CAST(CAST(:at AS text) AS timestamptz) WHERE id = :id"
    await sql(database, statement, id=content_id, at=updated_at)


async def sql(database: Database, statement: str, **values: object) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement), values)


def platforms(world: World, content_id: UUID) -> tuple[str, ...]:
    return world.index.contents([content_id])[content_id].platforms
