import asyncio
import time
from uuid import uuid4

import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.redis_stream.streams import streams_of
from media_gateway.core.domain.events import Topic
from tests.support.discovery import relaying, running_discovery
from tests.support.films import Film, Offer, merge, remove, save
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("models_path")


async def test_a_changed_title_is_searchable_within_a_second_of_its_commit(
    database, redis, database_url, redis_url
):
    film = Film(title="Working Title")
    await save(database, film)
    async with relaying(database, redis), running_discovery(database_url, redis_url) as discovery:
        await discovery.built()
        assert await discovery.titles("working title") == ["Working Title"]
        took_s = []
        for number in range(5):
            film.title = f"Quicksilver {number}"
            await save(database, film)
            started = time.monotonic()

            async def found(title=film.title) -> bool:
                return (await discovery.titles(title))[:1] == [title]

            await eventually(found, interval_s=0.01)
            took_s.append(time.monotonic() - started)
        assert sorted(took_s)[2] <= 1.0
        assert await discovery.titles("working title") == []


async def test_removed_and_merged_contents_leave_and_their_heirs_stay(
    database, redis, database_url, redis_url
):
    gone, twin, heir = Film(title="Vanishing Point"), Film(title="Twin Peak"), Film(title="Heir Apparent")
    await save(database, gone, twin, heir)
    async with relaying(database, redis), running_discovery(database_url, redis_url) as discovery:
        await discovery.built()
        await remove(database, gone.id)
        await merge(database, twin.id, into=heir.id)

        async def settled() -> bool:
            found = [
                await discovery.titles(title) for title in ("vanishing point", "twin peak", "heir apparent")
            ]
            return found == [[], [], ["Heir Apparent"]]

        await eventually(settled)


async def test_many_changes_at_once_all_arrive(database, redis, database_url, redis_url):
    async with relaying(database, redis), running_discovery(database_url, redis_url) as discovery:
        await discovery.built()
        for start in range(0, 3_000, 500):
            await save(database, *(Film(title=f"Crowd Member {n}") for n in range(start, start + 500)))

        async def all_there() -> bool:
            return bool((await discovery.search("crowd member"))["total_count"] == 3_000)

        await eventually(all_there, timeout_s=30)


async def test_missed_events_are_repaired_by_comparison(database, database_url, redis_url):
    kept, lost = Film(title="Kept"), Film(title="Lost")
    await save(database, kept, lost, announce=False)
    async with running_discovery(database_url, redis_url, index_reconcile_s=0.1) as discovery:
        await discovery.built()
        kept.title = "Renamed"
        await save(database, kept, Film(title="Newcomer"), announce=False)
        await remove(database, lost.id)

        async def repaired() -> bool:
            found = [await discovery.titles(title) for title in ("renamed", "newcomer", "lost")]
            return found == [["Renamed"], ["Newcomer"], []]

        await eventually(repaired)


async def test_an_offering_that_ends_by_the_clock_leaves_the_platforms(database, database_url, redis_url):
    film = Film(title="Last Chance", offerings=(Offer(platform="netflix"),))
    await save(database, film)
    async with running_discovery(database_url, redis_url, index_reconcile_s=0.1) as discovery:
        await discovery.built()
        async with database.transaction() as connection:
            await connection.execute(
                sa.text("UPDATE offerings SET available_until = now() + interval '0.3 s'")
            )

        async def gone() -> bool:
            (hit,) = (await discovery.search("last chance"))["results"]
            return not hit["content"]["platforms"]

        await eventually(gone)


async def test_a_lost_cursor_rebuilds_while_the_old_index_still_answers(
    database, redis, database_url, redis_url
):
    await save(database, Film(title="Steady Eddie"), announce=False)
    streams = streams_of([Topic.CONTENT])
    for name in streams:
        await redis.client.xadd(name, {"e": b"{}"})
    async with running_discovery(database_url, redis_url) as discovery:
        await discovery.built()
        await save(database, Film(title="Behind the Gap"), announce=False)
        # Redis comes back without its data.
        await redis.client.delete(*streams)
        await redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        async def rebuilt() -> bool:
            assert await discovery.titles("steady eddie") == ["Steady Eddie"]
            return await discovery.titles("behind the gap") == ["Behind the Gap"]

        await eventually(rebuilt, timeout_s=20)


async def test_without_the_bus_search_goes_on_and_catches_up_from_the_database(
    database, database_url, free_port
):
    await save(database, Film(title="Before"), announce=False)
    away = f"redis://127.0.0.1:{free_port}/0"
    async with running_discovery(database_url, away, index_reconcile_s=0.2) as discovery:
        await discovery.built()
        assert await discovery.titles("before") == ["Before"]
        await save(database, Film(title="Meanwhile"), announce=False)

        async def caught_up() -> bool:
            return await discovery.titles("meanwhile") == ["Meanwhile"]

        await eventually(caught_up)

        async def told() -> bool:
            part = await discovery.part("text index")
            return bool(part["status"] == "degraded" and not part["critical"])

        await eventually(told)
        status, _ = await discovery.get("/health/ready")
        assert status == 200


async def test_while_the_index_is_built_search_answers_degraded_with_what_there_is(
    database, database_url, redis_url
):
    await save(database, *(Film(title=f"Early Bird {n}") for n in range(10)), announce=False)
    async with database.transaction() as holder:
        # The feed waits for this lock in the middle of its first comparison.
        await holder.execute(sa.text("LOCK TABLE credits IN ACCESS EXCLUSIVE MODE"))
        async with running_discovery(database_url, redis_url) as discovery:
            answer = await discovery.search("early bird")
            assert answer["degraded"]
            assert answer["results"] == []
            assert "being built" in (await discovery.part("text index"))["message"]
            assert (await discovery.get("/health/ready"))[0] == 503
            await holder.rollback()
            await discovery.built()

            async def ready() -> bool:
                return bool((await discovery.get("/health/ready"))[0] == 200)

            await eventually(ready)
            assert (await discovery.search("early bird"))["total_count"] == 10


@pytest.mark.slow
async def test_the_event_loop_stays_free_while_seventeen_thousand_contents_are_indexed(
    database, database_url, redis_url
):
    for start in range(0, 17_000, 1_000):
        films = (
            Film(
                title=f"Film {n}",
                overview=f"The story of number {n} and its friends.",
                people=(("actor", f"Actor {n}"),),
            )
            for n in range(start, start + 1_000)
        )
        await save(database, *films, announce=False)
    async with running_discovery(database_url, redis_url) as discovery:
        began, longest_s = asyncio.get_running_loop().time(), 0.0
        while (await discovery.search("film"))["degraded"]:
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(0)
            longest_s = max(longest_s, asyncio.get_running_loop().time() - started)
        took_s = asyncio.get_running_loop().time() - began
        assert (await discovery.search("film"))["total_count"] >= 17_000
        # Done on the loop, it would be one wait of all that time.
        assert longest_s < took_s / 2


async def test_without_the_database_search_still_answers_and_contents_say_when_to_come_back(
    redis_url, free_port
):
    away = f"postgresql://nobody@127.0.0.1:{free_port}/nothing"
    async with running_discovery(away, redis_url) as discovery:
        answer = await discovery.search("anything")
        assert (answer["degraded"], answer["results"]) == (True, [])
        status, problem = await discovery.get(f"/api/v1/content/{uuid4()}")
        assert (status, problem["retryable"]) == (503, True)
        status, _ = await discovery.get("/health/ready")
        assert status == 503


async def test_without_the_embedding_model_search_is_by_text_and_says_degraded(
    database, database_url, redis_url, tmp_path
):
    await save(database, Film(title="Alien"))
    async with running_discovery(database_url, redis_url, model_dir=tmp_path) as discovery:

        async def found():
            return (await discovery.search("alien"))["results"]

        await eventually(found, timeout_s=30)
        assert (await discovery.search("alien"))["degraded"]
        part = await discovery.part("embedder")
        assert (part["status"], part["critical"]) == ("unhealthy", False)
