"""Who searched for what can't be read from the database, nor what only a few have searched for."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from media_gateway.core.domain.ids import uuid7
from media_gateway.discovery.analytics import Analytics, SearchRetention
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.search_events import ClickEvent, Searcher
from media_gateway.discovery.store.analytics import MIN_SEARCHERS, PURGE_LIMIT, AnalyticsStore
from media_gateway.discovery.store.reports import ReportStore, Window
from tests.support.discovery import running_discovery
from tests.support.films import Film, save
from tests.support.search_admin import Admin, Person
from tests.support.search_rows import count, is_relayed, rows, searched, tables_with
from tests.support.waiting import eventually

RARE, POPULAR = "Rare Zebrafish Ailment", "Common Quokka"
KEY = b"a key of the tests, which is at least as long as it must be"
DAY = timedelta(days=1)


@pytest.fixture
def store(database) -> AnalyticsStore:
    return AnalyticsStore(database)


@pytest.fixture
def analytics(store) -> Analytics:
    return Analytics(store, Pseudonyms(KEY))


async def texts(database) -> list[str]:
    found = await rows(database, "SELECT query_text FROM popular_searches ORDER BY query_text")
    return [row.query_text for row in found]


async def test_the_search_for_clear_text_finds_what_is_there(database):
    await save(database, Film(title="Findable Okapi"))
    assert await tables_with(database, "findable okapi") == ["contents"]
    assert await tables_with(database, "content.updated") == ["outbox"]


async def test_no_column_of_any_table_holds_a_searcher_or_a_query_of_few(database, database_url, redis_url):
    users = [f"zoe-{number}@example.org" for number in range(MIN_SEARCHERS)]
    film = Film(title="Any")
    await save(database, film, announce=False)
    async with running_discovery(database_url, redis_url) as discovery:
        for user in users[: MIN_SEARCHERS - 2]:
            await Person(discovery, user).search(RARE)
        for _ in range(2 * MIN_SEARCHERS):
            await Person(discovery, users[0]).search(RARE)
            await Person(discovery, agent="Curious Browser 7").search(RARE)
        for user in users:
            search_id, _ = await Person(discovery, user).search(POPULAR)
            await Person(discovery, user).click(search_id, film.id)

        async def settled() -> bool:
            return (await count(database, "search_clicks"), await is_relayed(database)) == (5, True)

        await eventually(settled)
        assert await tables_with(database, "quokka") == ["popular_searches"]
        # Three users and one visitor, however often they searched, are four.
        for needle in ("zebrafish", "zoe-", "example.org", "curious browser", "127.0.0.1"):
            assert await tables_with(database, needle) == [], needle
    assert await count(database, "search_events") == 3 + 4 * MIN_SEARCHERS + MIN_SEARCHERS


@pytest.mark.parametrize(("proxies", "searchers"), [("127.0.0.0/8,::1/128", 3), ("", 1)])
async def test_callers_behind_the_gateway_are_told_apart_if_it_is_trusted(
    database, database_url, redis_url, proxies: str, searchers: int
):
    async with running_discovery(database_url, redis_url, trusted_proxies=proxies) as discovery:
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"):
            await Person(discovery, address=address).search(RARE)
    found = await rows(database, "SELECT count(DISTINCT searcher_hash) AS searchers FROM search_events")
    assert found[0].searchers == searchers


async def test_a_query_s_text_is_kept_from_the_fifth_different_searcher_on(database, analytics):
    async def search(query: str, *subjects: str | None) -> None:
        for subject in subjects:
            analytics.record(searched(query, subject))
        await analytics.close()

    await search(RARE, *(f"user-{number}" for number in range(MIN_SEARCHERS - 1)))
    await search(RARE, *["user-0"] * 50)
    assert await tables_with(database, "zebrafish") == []
    # All searches without a token that can't be told apart are one searcher.
    await search(POPULAR, *[None] * 50)
    assert await tables_with(database, "quokka") == []
    await search(f"  {RARE.upper()} ", None)
    assert await texts(database) == ["rare zebrafish ailment"]
    await search(RARE, "user-9")
    assert await texts(database) == ["rare zebrafish ailment"]


async def test_replicas_count_searchers_together(database, store):
    for number in range(MIN_SEARCHERS):
        assert await texts(database) == []
        replica = Analytics(store, Pseudonyms(KEY))
        replica.record(searched(RARE, f"user-{number}"))
        await replica.close()
    assert await texts(database) == ["rare zebrafish ailment"]


async def test_a_query_of_few_never_leaves_the_process_in_clear(database, analytics):
    """Not even as a statement's parameter, which a server may log."""
    sent: list[str] = []

    def listen(connection, _record) -> None:
        connection.driver_connection.add_query_logger(
            lambda query: sent.append(f"{query.query} {query.args}")
        )

    sa.event.listen(database.engine.sync_engine, "connect", listen)
    for number in range(MIN_SEARCHERS):
        analytics.record(searched(POPULAR, f"user-{number}"))
    for number in range(MIN_SEARCHERS - 1):
        analytics.record(searched(RARE, f"user-{number}"))
    await analytics.close()
    assert any("INSERT INTO search_events" in text for text in sent)
    assert any("common quokka" in text for text in sent)
    assert not any("zebrafish" in text.lower() for text in sent)


async def test_a_report_shows_a_query_only_if_enough_searched_for_it_in_its_window(database, analytics):
    now = datetime.now(UTC)
    for number in range(MIN_SEARCHERS + 2):
        at = now - DAY if number < 3 else now
        empty = {"result_count": 0, "shown": 0} if number % 2 else {}
        analytics.record(searched(POPULAR, f"user-{number}", created_at=at, **empty))
    await analytics.close()
    whole, today = Window(now - 2 * DAY, now + DAY), Window(now - DAY / 2, now + DAY)
    async with ReportStore(database).snapshot() as report:
        (found,) = await report.top_queries(whole, limit=10)
        assert (found.query, found.searches, found.searchers, found.zero_results) == (
            "common quokka",
            7,
            7,
            3,
        )
        assert await report.top_queries(today, limit=10) == []
        # Three of its searchers found nothing: too few to say that somebody did not.
        assert await report.top_queries(whole, limit=10, zero_results_only=True) == []


async def test_old_events_go_in_batches_and_texts_with_the_searchers_that_made_them_popular(
    database, store, analytics
):
    now = datetime.now(UTC)
    for number in range(MIN_SEARCHERS):
        at = now - 40 * DAY if number == 0 else now
        analytics.record(searched(RARE, f"user-{number}", created_at=at))
        analytics.record(searched(POPULAR, f"user-{number}"))
    await analytics.close()
    many = 2 * PURGE_LIMIT + 5
    await rows(
        database,
        "WITH new AS (INSERT INTO search_events SELECT gen_random_uuid(), now() - interval '31 days', 'q', 's', true, "
        "'default', '[]', 1, 1, 1, 1, false, 'miss' FROM generate_series(1, CAST(:many AS int)) RETURNING id), "
        "clicks AS (INSERT INTO search_clicks SELECT id, id, 1, now() - interval '31 days' FROM new) SELECT 1",
        many=many,
    )
    assert await texts(database) == ["common quokka", "rare zebrafish ailment"]
    retentions = [SearchRetention(store, 30 * DAY) for _ in range(2)]
    await asyncio.gather(*(retention.purge() for retention in retentions))
    await retentions[0].purge()
    assert await count(database, "search_events") == 2 * MIN_SEARCHERS - 1
    assert await count(database, "search_clicks") == 0
    assert await texts(database) == ["common quokka"]
    assert await tables_with(database, "zebrafish") == []


async def test_retention_of_the_service_purges_by_its_setting(database, store, database_url, redis_url):
    analytics = Analytics(store, Pseudonyms(KEY))
    analytics.record(searched("old", "user-1", created_at=datetime.now(UTC) - 2 * DAY))
    analytics.record(searched("new", "user-1"))
    await analytics.close()
    async with running_discovery(database_url, redis_url, analytics_kept_days=1):

        async def purged() -> bool:
            return await count(database, "search_events") == 1

        await eventually(purged)


async def test_administrators_are_told_how_many_must_have_searched(database_url, redis_url):
    async with running_discovery(database_url, redis_url) as discovery:
        assert (await Admin(discovery).get("/api/v1/admin/search/analytics"))["min_searchers"] == 5


async def test_clicks_name_no_searcher(database, store):
    film = Film(title="Any")
    await save(database, film, announce=False)
    analytics = Analytics(store, Pseudonyms(KEY))
    analytics.record_click(
        ClickEvent(search_id=uuid7(), content_id=film.id, position=1, searcher=Searcher(subject="zoe-1"))
    )
    await analytics.close()
    assert await count(database, "search_clicks") == 1
    # Only the event on its way to the bus is a user's.
    assert await tables_with(database, "zoe-1") == ["outbox"]
