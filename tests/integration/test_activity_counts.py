"""Counts of what people do: once each, whoever counts, in whatever order, through merges and restarts."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from math import log2
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Topic
from media_gateway.discovery.activity import Interaction
from media_gateway.discovery.decay import USUAL_HALF_LIFE, Levels, Window, exponent
from media_gateway.discovery.store.activity import FORGOTTEN_COUNT, Folded
from media_gateway.discovery.store.trends import _MOST_ACTIVE, ACTIVE_LIMIT, TrendStore
from tests.support.activity import (
    KEPT,
    activity_store,
    clicked,
    counting,
    counts,
    outcome,
    told,
)
from tests.support.discovery import relaying
from tests.support.films import Film, merge, save
from tests.support.search_rows import count, rows, tables_with
from tests.support.waiting import eventually

ALIEN, HEAT = Film(title="Alien"), Film(title="Heat")
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
async def catalogue(database) -> None:
    await save(database, ALIEN, HEAT, announce=False)


@pytest.fixture
async def bus(redis):
    bus = RedisStreamBus(redis)
    yield bus
    await bus.close()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def did(content_id: UUID, now: datetime, person: str = "user:1", **facts: Any) -> Interaction:
    values: dict[str, Any] = {"event_id": uuid4(), "at": now, "weight": 1.0} | facts
    return Interaction(content_id=content_id, person=person, **values)


async def levels(database) -> dict[tuple[UUID, str], Levels]:
    found = await rows(
        database,
        "SELECT content_id, region, day_level, week_level, month_level, usual_level FROM content_activity",
    )
    return {(UUID(str(row[0])), row[1]): Levels(*row[2:]) for row in found}


async def test_the_database_adds_levels_as_the_law_says(database, now):
    rng = random.Random(7)
    interactions = [
        did(
            ALIEN.id,
            now - timedelta(days=rng.uniform(0, 6.9)),
            f"user:{number}",
            weight=rng.choice([1.0, 2.0, 3.0, 4.0]),
            region=rng.choice([None, "GB"]),
        )
        for number in range(60)
    ]
    store = activity_store(database)
    for start in range(0, 60, 7):
        await store.fold(interactions[start : start + 7])
    first, *rest = (Levels.of(one.weight, one.at) for one in interactions)
    for one in rest:
        first = first.plus(one)
    found = await levels(database)
    assert list(found[ALIEN.id, "001"]) == pytest.approx(list(first), abs=1e-6)
    assert found.keys() == {(ALIEN.id, "001"), (ALIEN.id, "GB")}


async def test_events_far_apart_are_added_without_error(database, now):
    store = activity_store(database)
    for person, at in (("user:1", now - 3_000 * DAY), ("user:2", now), ("user:3", now - 3_000 * DAY)):
        await store.fold([did(ALIEN.id, at, person)])
    found = (await levels(database))[ALIEN.id, "001"]
    assert list(found) == pytest.approx(list(Levels.of(1, now)), abs=1e-9)


async def test_one_person_counts_once_a_day_for_a_content(database, now):
    store = activity_store(database)
    noon = now.replace(hour=12) - DAY
    batch = [did(ALIEN.id, noon + timedelta(minutes=number)) for number in range(30)]
    assert await store.fold(batch) == Folded(counted=1, capped=29)
    assert await store.fold([did(ALIEN.id, noon + timedelta(hours=1))]) == Folded(capped=1)
    assert await store.fold([did(HEAT.id, noon), did(ALIEN.id, noon, "user:2")]) == Folded(counted=2)
    assert await store.fold([did(ALIEN.id, noon - DAY)]) == Folded(counted=1)
    found = await counts(database)
    assert found[ALIEN.id] == pytest.approx(3, rel=0.1)
    assert found[HEAT.id] == pytest.approx(1, rel=0.1)


async def test_a_person_s_surest_sign_of_a_day_counts_whatever_comes_first(database, now):
    store = activity_store(database)
    for person, weights in {"user:1": (1.0, 3.0, 4.0), "user:2": (4.0, 1.0, 3.0)}.items():
        for weight in weights:
            await store.fold([did(ALIEN.id, now, person, weight=weight)])
    await store.fold([did(ALIEN.id, now, "user:3", weight=weight) for weight in (2.0, 4.0, 1.0)])
    assert (await counts(database))[ALIEN.id] == 12.0


async def test_replicas_that_get_the_same_events_count_them_once(database, now):
    batch = [did(film.id, now, f"user:{number}") for number in range(40) for film in (ALIEN, HEAT)]
    shuffled = [random.Random(number).sample(batch, len(batch)) for number in range(6)]
    folded = await asyncio.gather(*(activity_store(database).fold(part) for part in shuffled))
    assert sum(one.counted for one in folded) == 80
    assert sum(one.repeated for one in folded) == 5 * 80
    assert await counts(database) == {ALIEN.id: 40.0, HEAT.id: 40.0}


async def test_replicas_that_get_other_events_of_the_same_people_count_these_once(database, now):
    parts = [
        [
            did(film.id, now, f"user:{number}", weight=float(weight))
            for film in (ALIEN, HEAT)
            for number in range(20)
        ]
        for weight in (4, 2, 3, 1)
    ]
    await asyncio.gather(*(activity_store(database).fold(part) for part in parts))
    assert await counts(database) == {ALIEN.id: 80.0, HEAT.id: 80.0}


async def test_nobody_can_be_read_from_the_tables(database, now):
    await activity_store(database).fold([did(ALIEN.id, now, "user:zoe-1", region="GB")])
    assert await tables_with(database, "zoe-1") == []
    assert str(ALIEN.id) not in str(await rows(database, "SELECT v::text FROM activity_votes v"))


async def test_a_content_that_never_was_is_not_counted(database, now):
    assert await activity_store(database).fold([did(uuid4(), now)]) == Folded(unknown=1)
    assert await count(database, "content_activity") == 0


async def test_counts_of_merged_contents_are_counts_of_the_one_that_took_them_in(database, redis, bus, now):
    old, older = Film(title="Alien!"), Film(title="Alien?")
    await save(database, old, older, announce=False)
    store = activity_store(database)
    for number, film in enumerate((ALIEN, old, older, old)):
        await store.fold([did(film.id, now, f"user:{number}", region="GB")])
    async with counting(database, redis), relaying(database, redis):
        await merge(database, older.id, into=old.id)
        await merge(database, old.id, into=ALIEN.id)

        async def moved() -> bool:
            return await counts(database) == {ALIEN.id: 4.0}

        await eventually(moved)
        assert await counts(database, region="GB") == {ALIEN.id: 4.0}
        # A link that somebody still has.
        await bus.publish([clicked(older.id, "user-9")])

        async def counted() -> bool:
            return await counts(database) == {ALIEN.id: 5.0}

        await eventually(counted)


async def test_a_merge_that_no_event_told_of_is_found(database, now):
    old = Film(title="Alien!")
    await save(database, old, announce=False)
    store = activity_store(database)
    await store.fold([did(old.id, now), did(HEAT.id, now)])
    await merge(database, old.id, into=ALIEN.id)
    assert await store.move_merged([HEAT.id]) == 0
    assert await store.move_merged() == 1
    assert await store.move_merged() == 0
    assert await counts(database) == {ALIEN.id: 1.0, HEAT.id: 1.0}


async def test_what_has_faded_and_what_can_t_be_repeated_any_more_is_forgotten(database, now):
    store = activity_store(database)
    half_lives = -log2(FORGOTTEN_COUNT)
    old = now - half_lives * USUAL_HALF_LIFE - timedelta(minutes=1)
    await store.fold([did(ALIEN.id, old), did(HEAT.id, old + timedelta(minutes=2)), did(HEAT.id, now - KEPT)])
    assert await count(database, "activity_votes") == 3
    assert await store.purge(now, votes_kept=KEPT) == 3
    assert await store.purge(now, votes_kept=KEPT) == 0
    assert (await levels(database)).keys() == {(HEAT.id, "001")}
    assert await count(database, "activity_votes") == 1
    assert exponent(now, USUAL_HALF_LIFE) > 0


async def test_the_most_active_of_many_are_read_from_the_index_alone(database, now):
    many = (
        "WITH new AS (INSERT INTO content_activity SELECT gen_random_uuid(), region, :day + random(), :week + random(), :month + random(), :usual "
        "FROM generate_series(1, 20000), unnest(ARRAY['001', 'GB']) AS region RETURNING 1) SELECT count(*) FROM new"
    )
    levels = Levels.of(1, now)._asdict()
    assert [row[0] for row in await rows(database, many, **levels)] == [40_000]
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text("VACUUM ANALYZE content_activity"))
    for window in Window:
        statement = f"EXPLAIN {_MOST_ACTIVE[window].text}"
        limit, scan, *_ = [row[0] for row in await rows(database, statement, area="GB", least=0.0)]
        assert limit.startswith("Limit")
        assert f"Index Only Scan using content_activity_by_{window}" in scan
    found = await TrendStore(database).most_active(Window.DAY, "GB")
    assert len(found) == ACTIVE_LIMIT
    assert found == sorted(found, key=lambda one: -one.counted)


async def test_every_event_has_an_outcome_and_none_stops_the_consumer(database, redis, bus, now):
    names = ("counted", "repeated", "capped", "unknown", "other", "broken", "late")
    before = {name: outcome(name) for name in names}
    ahead = REGISTRY.get_sample_value("mgw_activity_ahead_total") or 0.0
    once = clicked(ALIEN.id)
    events = [
        once,
        once,
        clicked(ALIEN.id),
        clicked(uuid4()),
        told("search.performed", ALIEN.id),
        told("playback.position.updated", ALIEN.id),
        told("search.clicked", "no id"),
        clicked(HEAT.id, region="nowhere"),
        clicked(HEAT.id, at=now - KEPT - DAY),
        clicked(HEAT.id, "user-2", at=now + 1_000 * DAY),
    ]
    async with counting(database, redis):
        await bus.publish(events)

        async def all_seen() -> bool:
            return sum(outcome(name) - before[name] for name in names) == len(events)

        await eventually(all_seen)
        assert {name: outcome(name) - before[name] for name in names} == {
            "counted": 2,
            "repeated": 1,
            "capped": 1,
            "unknown": 1,
            "other": 2,
            "broken": 2,
            "late": 1,
        }
    assert REGISTRY.get_sample_value("mgw_activity_ahead_total") == ahead + 1
    # The one from the future counts as of now, and no more than others.
    for window in Window:
        assert await counts(database, window) == {ALIEN.id: 1.0, HEAT.id: 1.0}


async def test_an_event_the_database_refuses_is_passed_over_alone(database, redis, bus):
    async with database.transaction() as connection:
        refuse = "ALTER TABLE content_activity ADD CONSTRAINT refused CHECK (region <> 'XX')"
        await connection.execute(sa.text(refuse))
    before = outcome("refused")
    people = [f"user-{number}" for number in range(9)]
    await bus.publish(
        [clicked(ALIEN.id, person, region="XX" if person == "user-4" else "GB") for person in people]
    )
    async with counting(database, redis):

        async def counted() -> bool:
            return await counts(database) == {ALIEN.id: 8.0} and outcome("refused") == before + 1

        await eventually(counted)
        await bus.publish([clicked(ALIEN.id, "user-10")])

        async def goes_on() -> bool:
            return await counts(database) == {ALIEN.id: 9.0}

        await eventually(goes_on)


async def test_what_comes_while_nobody_counts_is_counted_afterwards_once(database, redis, bus):
    async def clicks(start: int) -> None:
        await bus.publish([clicked(ALIEN.id, f"user-{number}") for number in range(start, start + 50)])

    for turn in range(1, 4):
        await clicks(turn * 100)
        async with counting(database, redis):

            async def caught_up(expected: float = turn * 50.0) -> bool:
                return await counts(database) == {ALIEN.id: expected}

            await eventually(caught_up)
    assert await count(database, "consumed_events") == 150


async def test_replicas_share_the_work_and_one_that_stops_leaves_nothing_undone(database, redis, bus):
    total = 6 * 25
    async with counting(database, redis):
        for start in range(0, total, 25):
            # One comes and goes while the other stays.
            async with counting(database, redis):
                await bus.publish([clicked(HEAT.id, f"user-{number}") for number in range(start, start + 25)])

        async def all_counted() -> bool:
            return await counts(database) == {HEAT.id: float(total)}

        await eventually(all_counted, timeout_s=30)


async def test_content_events_that_tell_of_no_merge_are_read_over(database, redis, bus):
    before = outcome("other")
    async with relaying(database, redis), counting(database, redis):
        await save(database, ALIEN)
        await bus.publish([clicked(ALIEN.id)])

        async def counted() -> bool:
            return await counts(database) == {ALIEN.id: 1.0}

        await eventually(counted)
        groups = [
            await redis.client.xinfo_groups(f"{{mgw:events}}:{Topic.CONTENT}:{number}") for number in range(4)
        ]

        async def done() -> bool:
            return all(group["pending"] == 0 for of_stream in groups for group in of_stream)

        await eventually(done)
    assert outcome("other") == before
