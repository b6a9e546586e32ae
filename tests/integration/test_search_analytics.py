"""Search analytics through discovery's doors: what is counted, and what administrators are shown."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.domain.ids import uuid7
from tests.support.discovery import Discovery, running_discovery
from tests.support.films import Film, Offer, save
from tests.support.search_admin import Admin, Person
from tests.support.search_rows import rows
from tests.support.waiting import eventually

ALIEN = Film(
    title="Alien",
    overview="A crew meets something.",
    images={"poster": "https://images.example/alien.jpg"},
    people=(("director", "Ridley Scott"),),
    offerings=(Offer(platform="netflix"),),
    average_rating=8.5,
)
ALIENS = Film(title="Aliens", release_year=None, genres=())
ANALYTICS = "/api/v1/admin/search/analytics"
QUALITY = "/api/v1/admin/search/quality"


@pytest.fixture
async def discovery(database, database_url, redis_url):
    await save(database, ALIEN, ALIENS, announce=False)
    async with running_discovery(database_url, redis_url) as running:

        async def indexed() -> bool:
            return len((await running.search("alien"))["results"]) == 2

        await eventually(indexed, timeout_s=30)
        yield running


@pytest.fixture
def since(discovery) -> str:
    """After the searches that waited for the index."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def report(discovery: Discovery, since: str, searches: int, **more: str) -> dict[str, Any]:
    """The analytics once so many searches are counted."""
    query = "&".join(f"{name}={value}" for name, value in ({"from": since} | more).items())

    async def counted() -> dict[str, Any]:
        document: dict[str, Any] = await Admin(discovery).get(f"{ANALYTICS}?{query}")
        assert document["total"]["searches"] == searches, document["total"]
        return document

    return await eventually(counted)


async def test_searches_are_counted_with_what_became_of_them(discovery, since):
    user, visitor = Person(discovery, "user-1"), Person(discovery)
    search_id, answer = await user.search("alien", filters={"year_from": 1900}, variant="control")
    assert UUID(search_id).version == 7
    await visitor.search("aliens")
    await visitor.search("there is no such film as this")
    await visitor.search("alien", page=2, page_size=1)
    assert await user.click(search_id, answer["results"][0]["content"]["id"]) == 202
    found = await report(discovery, since, 4)
    total = found["total"]
    degraded = 1.0 if answer["degraded"] else 0.0
    assert (total["zero_result_rate"], total["degraded_rate"], total["anonymous_rate"]) == (
        0.25,
        degraded,
        0.75,
    )
    assert total["cache_hit_rate"] == 0
    assert 0 < total["latency_ms"]["p50"] <= total["latency_ms"]["p95"] <= total["latency_ms"]["p99"]
    assert {name: part["searches"] for name, part in found["by_variant"].items()} == {
        "control": 1,
        "default": 3,
    }

    async def clicked() -> bool:
        by_variant = (await report(discovery, since, 4))["by_variant"]
        return [by_variant[name]["click_through_rate"] for name in ("control", "default")] == [1, 0]

    await eventually(clicked)


async def test_each_answer_has_an_id_of_its_own_and_failed_requests_are_no_searches(
    discovery, since, database
):
    person = Person(discovery)
    ids = {(await person.search("alien"))[0] for _ in range(3)}
    assert len(ids) == 3
    async with discovery.session.post(f"{discovery.url}/api/v1/search", json={"query": ""}) as response:
        assert response.status == 400
        assert "X-Search-Id" not in response.headers
    await report(discovery, since, 3)
    stored = await rows(database, "SELECT id::text, filters FROM search_events ORDER BY id DESC LIMIT 3")
    assert {row.id for row in stored} == ids


async def test_only_the_names_of_filters_are_kept(discovery, database):
    filters = {"genres": ["horror"], "platforms": ["netflix"], "year_to": 1990, "content_types": []}
    await Person(discovery).search("alien", filters=filters)

    async def kept() -> Sequence[Any]:
        return await rows(database, "SELECT 1 FROM search_events WHERE filters::text LIKE '%year_to%'")

    await eventually(kept)
    ((names,),) = await rows(
        database, "SELECT filters::text FROM search_events WHERE jsonb_array_length(filters) > 0"
    )
    assert names == '["genres", "platforms", "year_to"]'


async def test_a_click_counts_once_however_often_it_is_sent(discovery, database):
    person = Person(discovery, "user-1")
    search_id, _ = await person.search("alien")
    for _ in range(3):
        assert await person.click(search_id, ALIEN.id, position=1) == 202
    await person.click(search_id, ALIENS.id, position=2)
    # Of a content that never was: taken, not kept.
    await person.click(search_id, uuid4(), position=3)
    await person.click(str(uuid7()), ALIEN.id, position=4)

    async def positions() -> list[int]:
        found = await rows(database, "SELECT position FROM search_clicks ORDER BY position")
        return [row.position for row in found]

    async def last_is_there() -> bool:
        return 4 in await positions()

    await eventually(last_is_there)
    assert await positions() == [1, 2, 4]
    await person.click(search_id, ALIEN.id, position=5)
    other, _ = await person.search("aliens")
    await person.click(other, ALIEN.id, position=6)

    async def later_one_is_there() -> bool:
        return 6 in await positions()

    await eventually(later_one_is_there)
    assert await positions() == [1, 2, 4, 6]


WRONG_CLICKS: list[tuple[dict[str, Any], str]] = [
    ({"search_id": "x"}, "search_id"),
    ({"search_id": str(uuid4())}, "search_id"),
    ({"content_id": 7}, "content_id"),
    ({"position": 0}, "position"),
    ({"position": 10_001}, "position"),
    ({"position": "1"}, "position"),
    ({"user_id": "user-2"}, "user_id"),
]


async def test_wrong_clicks_are_refused_by_the_name_of_their_field(discovery):
    good = {"search_id": str(uuid7()), "content_id": str(ALIEN.id), "position": 1}
    for part, field in WRONG_CLICKS:
        url = f"{discovery.url}/api/v1/search/clicks"
        async with discovery.session.post(url, json=good | part) as response:
            problem = await response.json(content_type=None)
            assert response.status == 400
        assert [error["field"] for error in problem["errors"]] == [field]


async def test_users_activity_reaches_the_bus_keyed_by_user_without_the_words(discovery, redis):
    user, visitor = Person(discovery, "user-1"), Person(discovery)
    bus = RedisStreamBus(redis)
    events: list[Event] = []
    async with bus.subscribe([Topic.ACTIVITY], group="test", consumer="one") as subscription:
        user_search, _ = await user.search("Alien", filters={"year_from": 1900}, variant="low")
        await user.click(user_search, ALIEN.id, position=1)
        await user.click(user_search, ALIEN.id, position=1)
        await user.click(user_search, ALIENS.id, position=2)
        visitor_search, _ = await visitor.search("alien")
        await visitor.click(visitor_search, ALIENS.id, position=2)

        async def heard() -> bool:
            deliveries = await subscription.fetch(max_events=100, wait_ms=100)
            await subscription.ack(deliveries)
            events.extend(delivery.event for delivery in deliveries)
            keys = {(event.type, event.key) for event in events}
            return {("search.clicked", "user-1"), ("search.clicked", visitor_search)} <= keys

        await eventually(heard)
    await bus.close()
    of_user = [event for event in events if event.key == "user-1"]
    assert [event.type for event in of_user] == ["search.performed", "search.clicked", "search.clicked"]
    assert [event.data["position"] for event in of_user[1:]] == [1, 2]
    query_hash = of_user[0].data.pop("query_hash")
    assert of_user[0].data == {
        "anonymous": False,
        "result_count": 1,
        "variant": "low",
        "filters": ["year_from"],
    }
    assert of_user[1].data == {"anonymous": False, "content_id": str(ALIEN.id), "position": 1}
    (performed, _) = [event for event in events if event.key == visitor_search]
    # One query has one hash, whoever searches for it and however it is written.
    assert (performed.data["anonymous"], performed.data["query_hash"]) == (True, query_hash)
    assert "alien" not in query_hash


async def test_quality_report_says_what_the_catalogue_lacks_and_how_ranks_are_clicked(discovery, since):
    person = Person(discovery)
    for _ in range(3):
        await person.search("alien")
    search_id, _ = await person.search("alien")
    await person.click(search_id, ALIEN.id, position=1)
    await person.click(search_id, ALIENS.id, position=2)
    second_page, _ = await person.search("alien", page=2, page_size=1)
    await person.click(second_page, ALIENS.id, position=2)
    # Such a rank was not on that page, so it counts nowhere.
    await person.click(second_page, ALIEN.id, position=7)

    async def whole() -> dict[str, Any]:
        document: dict[str, Any] = await Admin(discovery).get(f"{QUALITY}?from={since}")
        assert [(p["shown"], p["clicks"]) for p in document["click_through_by_position"][:3]] == [
            (4, 1),
            (5, 2),
            (0, 0),
        ]
        return document

    document = await eventually(whole)
    rates = [part["click_through_rate"] for part in document["click_through_by_position"][:3]]
    assert rates == [0.25, 0.4, None]
    assert (document["searches"], document["zero_result_rate"]) == (5, 0)
    assert document["contents"] == 2
    assert {part["field"]: part["contents"] for part in document["missing"]} == {
        "overview": 1,
        "poster": 1,
        "genres": 1,
        "release_year": 1,
        "people": 1,
        "maturity_rating": 2,
        "average_rating": 1,
        "popularity_score": 0,
        "offering": 1,
        "embedding": 2,
    }
    assert document["missing"][0]["share"] == 0.5


async def test_reports_of_a_time_without_searches_have_no_rates(discovery):
    query = "?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z"
    document = await Admin(discovery).get(ANALYTICS + query)
    assert document["total"] == {
        "searches": 0,
        "zero_result_rate": None,
        "degraded_rate": None,
        "anonymous_rate": None,
        "cache_hit_rate": None,
        "click_through_rate": None,
        "latency_ms": None,
    }
    assert document["window"] == {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    assert document["top_queries"] == document["top_zero_result_queries"] == []
    assert (await Admin(discovery).get(QUALITY + query))["zero_result_rate"] is None


async def test_wrong_windows_are_refused_by_the_name_of_their_field(discovery):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    wrong = {
        "from=yesterday": "from",
        "from=2026-01-01T00:00:00": "from",
        "to=1999-12-31T00:00:00Z": "to",
        "to=9999-12-31T00:00:00Z": "to",
        "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z": "from",
        f"from={tomorrow}": "from",
        "limit=0": "limit",
        "since=2026-01-01T00:00:00Z": "since",
    }
    for query, field in wrong.items():
        answer = await Admin(discovery).send("GET", f"{ANALYTICS}?{query}")
        assert (answer.status, answer.fields) == (400, [field]), query
