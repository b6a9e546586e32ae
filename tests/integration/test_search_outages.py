"""Searches go on whatever becomes of Postgres, and what was noted of them meanwhile is written once it is back."""

import asyncio
from contextlib import suppress
from uuid import UUID

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import UnavailableError
from media_gateway.core.migrations import migrate
from media_gateway.discovery.analytics import BATCH, Analytics
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.search_events import ClickEvent, Searcher
from media_gateway.discovery.store.analytics import AnalyticsStore
from tests.support.discovery import Discovery, running_discovery
from tests.support.films import Film, save
from tests.support.search_admin import RANKING, Admin, Person
from tests.support.search_rows import count, rows, searched
from tests.support.servers import database_named, execute
from tests.support.waiting import eventually

KEY = b"a key of the tests, which is at least as long as it must be"


def counted(kind: str, outcome: str) -> float:
    labels = {"kind": kind, "outcome": outcome}
    return REGISTRY.get_sample_value("mgw_search_events_total", labels) or 0.0


@pytest.fixture
def analytics(database) -> Analytics:
    return Analytics(AnalyticsStore(database), Pseudonyms(KEY))


class Load:
    """Somebody who searches and clicks until told to stop, and must succeed each time."""

    def __init__(self, discovery: Discovery, content_id: UUID) -> None:
        self._person = Person(discovery, "user-1")
        self._content_id = content_id
        self._stop = asyncio.Event()
        self.search_ids: set[str] = set()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._stop.is_set():
            search_id, answer = await self._person.search("alien", variant="mine")
            assert answer["total_count"] == 1
            self.search_ids.add(search_id)
            assert await self._person.click(search_id, self._content_id) == 202
            await asyncio.sleep(0.005)

    async def more(self, number: int) -> None:
        """Wait for so many further searches."""
        target = len(self.search_ids) + number
        await eventually(lambda: self._task.done() or len(self.search_ids) >= target)
        assert not self._task.done(), self._task.exception()

    async def end(self) -> None:
        self._stop.set()
        await self._task


async def states(discovery: Discovery) -> set[str]:
    names = ("search analytics", "ranking configuration")
    return {(await discovery.part(name))["status"] for name in names}


async def test_with_postgres_stopped_and_started_under_load_no_search_fails_and_all_are_noted(
    tmp_path, redis_url
):
    server = EmbeddedPostgres(tmp_path / "state", durable=False)
    url = await server.start()
    await migrate(url)
    database = Database(url)
    film = Film(title="Alien")
    await save(database, film, announce=False)
    try:
        async with running_discovery(url, redis_url) as discovery:

            async def indexed() -> bool:
                return bool((await discovery.search("alien"))["results"])

            await eventually(indexed, timeout_s=30)
            await Admin(discovery).put_variant("mine", {"rrf_k": 3})
            load = Load(discovery, film.id)
            await load.more(50)
            await server.stop()
            await load.more(100)

            async def told() -> bool:
                return await states(discovery) == {"degraded"}

            await eventually(told)
            part = await discovery.part("ranking configuration")
            assert "version 1 stays in force" in part["message"]
            answer = await Admin(discovery).send("GET", RANKING)
            assert (answer.status, answer.document["retryable"]) == (503, True)
            await load.more(50)
            assert await server.start() == url
            await load.more(50)
            await load.end()

            async def noted() -> bool:
                found = await rows(database, "SELECT id::text FROM search_events WHERE variant = 'mine'")
                clicks = await count(database, "search_clicks")
                return {row.id for row in found} == load.search_ids and clicks == len(load.search_ids)

            await eventually(noted, timeout_s=30)

            async def well() -> bool:
                return await states(discovery) == {"healthy"}

            await eventually(well)
    finally:
        await database.close()
        await server.stop()


async def test_a_process_that_starts_without_postgres_uses_the_built_in_configuration(redis_url, free_port):
    away = f"postgresql://nobody@127.0.0.1:{free_port}/nothing"
    async with running_discovery(away, redis_url) as discovery:
        await Person(discovery).search("alien", variant="spec")

        async def told() -> bool:
            message = (await discovery.part("ranking configuration"))["message"]
            return "the built-in one stays in force" in message

        await eventually(told)


async def test_beyond_its_bound_the_list_drops_counts_and_says_so(database_url, free_port):
    gone = Database(f"postgresql://nobody@127.0.0.1:{free_port}/nothing")
    analytics = Analytics(AnalyticsStore(gone), Pseudonyms(KEY), capacity=100)
    before = counted("search", "dropped")
    for number in range(150):
        analytics.record(searched(f"query {number}"))
    assert counted("search", "dropped") - before == 50
    click = ClickEvent(search_id=uuid7(), content_id=uuid7(), position=1, searcher=Searcher())
    with pytest.raises(UnavailableError):
        analytics.record_click(click)
    task = asyncio.create_task(analytics.run())

    async def told() -> bool:
        message = await analytics.health() or ""
        return "100 are kept in memory" in message and "dropped" in message

    await eventually(told)
    task.cancel()
    await asyncio.wait([task])
    await analytics.close()
    assert counted("search", "dropped") - before == 150
    await gone.close()


async def test_what_was_answered_before_the_end_of_a_process_is_written(database, database_url, redis_url):
    async with running_discovery(database_url, redis_url) as discovery:
        ids = {(await Person(discovery).search(f"query {number}"))[0] for number in range(20)}
    found = await rows(database, "SELECT id::text FROM search_events")
    assert {row.id for row in found} == ids


async def test_a_writer_cut_off_in_the_middle_of_a_batch_loses_and_doubles_nothing(database, analytics):
    many = 3 * BATCH + 7
    for number in range(many):
        analytics.record(searched(f"query {number}", f"user-{number}"))
    async with database.transaction() as holder:
        # The writer waits for this lock in the middle of its transaction.
        await holder.execute(sa.text("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"))
        task = asyncio.create_task(analytics.run())

        async def waits() -> bool:
            return bool(await rows(database, "SELECT 1 FROM pg_locks WHERE NOT granted"))

        await eventually(waits)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await analytics.close()
    assert await count(database, "search_events") == many
    assert await count(database, "outbox") == many


async def test_a_batch_written_again_changes_and_announces_nothing(database, analytics):
    events = [searched(f"query {number}", "user-1") for number in range(3)]
    for _ in range(2):
        for event in events:
            analytics.record(event)
        await analytics.close()
    assert (await count(database, "search_events"), await count(database, "outbox")) == (3, 3)


async def test_an_event_that_fits_no_column_is_refused_alone(database, analytics):
    refused, written = counted("search", "refused"), counted("search", "written")
    for number in range(10):
        analytics.record(searched(f"query {number}", result_count=10**12 if number == 4 else 1))
    await analytics.close()
    assert await count(database, "search_events") == 9
    assert (counted("search", "refused") - refused, counted("search", "written") - written) == (1, 9)
    assert await analytics.health() is None


async def test_before_the_tables_are_there_events_wait(postgres_server_url):
    name = f"test_{uuid7().hex}"
    await execute(postgres_server_url, f"CREATE DATABASE {name}")
    url = database_named(postgres_server_url, name)
    # Behind this release.
    database = Database(url)
    analytics = Analytics(AnalyticsStore(database), Pseudonyms(KEY))
    await migrate(url, "0003")
    analytics.record(searched("alien"))
    task = asyncio.create_task(analytics.run())

    async def waits() -> bool:
        return "1 are kept" in (await analytics.health() or "")

    await eventually(waits)
    await migrate(url)

    async def written() -> bool:
        return await count(database, "search_events") == 1

    await eventually(written)
    task.cancel()
    await asyncio.wait([task])
    await database.close()
    await execute(postgres_server_url, f"DROP DATABASE {name} WITH (FORCE)")
