"""Trending and popular by what people do, through discovery's public door, and what is about to end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.ids import uuid7
from media_gateway.discovery import app
from media_gateway.discovery.trending import TrendBoard
from tests.support.activity import clicked, counts, told
from tests.support.discovery import Discovery, running_discovery
from tests.support.films import Film, Offer, merge, remove, save
from tests.support.search_admin import Person
from tests.support.search_rows import count, rows
from tests.support.waiting import eventually

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
TRENDING, POPULAR, EXPIRING = (f"/api/v1/content/{name}" for name in ("trending", "popular", "expiring"))


def film(title: str, popularity: float, *regions: str, **facts: Any) -> Film:
    offers = tuple(Offer(platform="netflix", region=region) for region in regions)
    values: dict[str, Any] = {"release_date": NOW.date(), "offerings": offers} | facts
    return Film(title=title, popularity_score=popularity, **values)


KNOWN = film("Known", 0.9, "GB", "US")
MIDDLING = film("Middling", 0.5, "GB", "US", genres=("comedy",))
OBSCURE = film("Obscure", 0.1, "GB")
SERIES = film("Serial", 0.2, "US", content_type="series")
FILMS = (KNOWN, MIDDLING, OBSCURE, SERIES)
BY_CATALOGUE = ["Known", "Middling", "Serial", "Obscure"]


@pytest.fixture(autouse=True)
def trends_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each look would have to wait until the last answer is old."""
    monkeypatch.setattr(app, "TrendBoard", partial(TrendBoard, fresh_s=0.0))


@pytest.fixture
async def bus(redis) -> AsyncIterator[RedisStreamBus]:
    bus = RedisStreamBus(redis)
    yield bus
    await bus.close()


@pytest.fixture
async def discovery(database, database_url, redis_url):
    await save(database, *FILMS)
    async with running_discovery(database_url, redis_url) as running:

        async def whole() -> bool:
            return (await look(running, POPULAR))[0] == BY_CATALOGUE

        await eventually(whole, timeout_s=60)
        yield running


async def look(discovery: Discovery, path: str) -> tuple[list[str], str]:
    """The titles of a list, and what it comes from."""
    status, answer = await discovery.get(path)
    assert status == 200, answer
    return [item.get("content", item)["title"] for item in answer["results"]], answer.get("basis", "")


async def settled(database, expected: dict[Any, float], region: str = "001") -> None:
    """Wait until the month's counts are these."""

    async def counted() -> bool:
        found = await counts(database, region=region)
        return {one: round(value, 1) for one, value in found.items()} == expected

    await eventually(counted, timeout_s=30)


async def test_without_activity_the_catalogue_answers_and_says_so(discovery):
    for path in (TRENDING, POPULAR, f"{TRENDING}?window=day", f"{POPULAR}?window=month"):
        assert await look(discovery, path) == (BY_CATALOGUE, "catalogue"), path
    _, answer = await discovery.get(f"{TRENDING}?region=GB&window=month")
    assert (answer["window"], answer["region"], answer["basis"]) == ("month", "GB", "catalogue")
    assert (await discovery.get(TRENDING))[1]["window"] == "week"
    assert (await discovery.get(POPULAR))[1]["window"] is None


async def test_clicks_on_results_bring_a_content_up(discovery, database):
    for number in range(16):
        person = Person(discovery, f"user-{number}")
        search_id, _ = await person.search("obscure")
        assert await person.click(search_id, OBSCURE.id) == 202
    await settled(database, {OBSCURE.id: 16.0})
    assert (await look(discovery, POPULAR)) == (BY_CATALOGUE, "catalogue")
    lists = [f"{POPULAR}?window={window}" for window in ("day", "week", "month")]
    for path in (*lists, f"{TRENDING}?window=day", f"{TRENDING}?window=week"):
        titles, basis = await look(discovery, path)
        assert (titles, basis) == (["Obscure", "Known", "Middling", "Serial"], "mixed"), path
        assert await look(discovery, f"{path}&limit=1") == (["Obscure"], "activity")
    # In a month it is three times what a quarter of a year says, not thirteen times: less of a surge.
    assert (await look(discovery, f"{TRENDING}?window=month"))[0] == [
        "Known",
        "Obscure",
        "Middling",
        "Serial",
    ]
    _, answer = await discovery.get(TRENDING)
    scores = [item["trending_score"] for item in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] == 0.9


async def test_filters_hold_for_activity_too(discovery, database, bus):
    await bus.publish([clicked(one.id, f"user-{number}") for one in FILMS for number in range(3)])
    await settled(database, {one.id: 3.0 for one in FILMS})
    for path in (TRENDING, f"{POPULAR}?window=week"):
        mark = "&" if "?" in path else "?"
        assert await look(discovery, f"{path}{mark}content_type=series") == (["Serial"], "activity")
    assert (await look(discovery, f"{POPULAR}?window=week&genre=comedy"))[0] == ["Middling"]
    assert (await look(discovery, f"{POPULAR}?window=week&platform=netflix"))[0] != []
    status, problem = await discovery.get(f"{POPULAR}?window=week&platform=mubi")
    assert (status, problem["errors"][0]["field"]) == (400, "platform")


async def test_one_person_moves_a_content_no_more_by_many_clicks(discovery, database):
    pushy, visitor = Person(discovery, "pushy"), Person(discovery, agent="Pushy Browser")
    for person in (pushy, visitor):
        for _ in range(25):
            search_id, _ = await person.search("obscure")
            await person.click(search_id, OBSCURE.id)
    other = Person(discovery, agent="Another Browser")
    search_id, _ = await other.search("middling")
    await other.click(search_id, MIDDLING.id)

    async def all_told() -> bool:
        return (await count(database, "search_clicks"), await count(database, "consumed_events")) == (51, 51)

    await eventually(all_told, timeout_s=30)
    await settled(database, {OBSCURE.id: 2.0, MIDDLING.id: 1.0})
    # Two people are two tenths: past the next one in the catalogue, no further.
    by_two = ["Known", "Middling", "Obscure", "Serial"]
    assert await look(discovery, f"{TRENDING}?window=day") == (by_two, "mixed")


async def test_a_region_has_trends_of_its_own(discovery, database):
    for number in range(18):
        person = Person(discovery, f"user-{number}")
        body = {
            "search_id": str(uuid7()),
            "content_id": str(OBSCURE.id if number < 16 else SERIES.id),
            "position": 1,
            "region": "GB" if number < 16 else "US",
        }
        url = f"{discovery.url}/api/v1/search/clicks"
        async with discovery.session.post(url, json=body, headers=person._headers) as response:
            assert response.status == 202
    await settled(database, {OBSCURE.id: 16.0, SERIES.id: 2.0})
    # Neither what is done elsewhere nor what is not offered here.
    assert await look(discovery, f"{TRENDING}?region=GB") == (["Obscure", "Known", "Middling"], "mixed")
    assert await look(discovery, f"{POPULAR}?region=GB&window=week&limit=1") == (["Obscure"], "activity")
    assert await look(discovery, f"{TRENDING}?region=US") == (["Known", "Middling", "Serial"], "mixed")
    assert await look(discovery, f"{TRENDING}?region=FR") == ([], "catalogue")
    assert (await look(discovery, TRENDING))[0][0] == "Obscure"


async def test_the_longer_a_window_the_longer_activity_counts(discovery, database, bus):
    week_ago = [clicked(OBSCURE.id, f"user-{number}", at=NOW - 6.5 * DAY) for number in range(40)]
    await bus.publish([*week_ago, *(clicked(SERIES.id, f"user-{number}") for number in range(10))])

    async def counted() -> bool:
        return await count(database, "consumed_events") == 50

    await eventually(counted, timeout_s=30)
    # After 13 half-lives of the day nothing is left.
    assert (await look(discovery, f"{POPULAR}?window=day"))[0] == ["Serial", "Known", "Middling", "Obscure"]
    assert (await look(discovery, f"{POPULAR}?window=month"))[0][:2] == ["Obscure", "Serial"]
    assert (await look(discovery, f"{TRENDING}?window=day"))[0][0] == "Serial"
    assert (await counts(database))[OBSCURE.id] == pytest.approx(40 * 2 ** (-6.5 / 15), rel=0.02)


async def test_what_is_always_busy_is_popular_and_what_is_busier_than_usual_is_trending(
    discovery, database, bus
):
    # A quarter of a year of thirty clicks a day cannot be sent now; its decayed counts can be stored.
    now_levels = (
        "ln({} * {} / ln(2)) / ln(2) + extract(epoch FROM now() - timestamptz '2020-01-01Z') / 86400 / {}"
    )
    values = ", ".join(f"CAST({now_levels.format(30, days, days)} AS float8)" for days in (0.5, 3.5, 15, 45))
    await rows(
        database,
        f"INSERT INTO content_activity VALUES (:id, '001', {values}) RETURNING 1",
        id=KNOWN.id,
    )
    await bus.publish([clicked(MIDDLING.id, f"user-{number}") for number in range(15)])

    async def counted() -> bool:
        return MIDDLING.id in await counts(database)

    await eventually(counted, timeout_s=30)
    assert (await look(discovery, f"{POPULAR}?window=week"))[0][:2] == ["Known", "Middling"]
    assert (await look(discovery, f"{TRENDING}?window=week"))[0][:2] == ["Middling", "Known"]


async def test_plays_weigh_more_than_clicks_and_unknown_types_nothing(discovery, database, bus):
    ended: dict[str, Any] = {"position_seconds": 95.0, "duration_seconds": 100.0}
    await bus.publish(
        [
            told("playback.session.created", KNOWN.id, "user-1"),
            told("playback.session.ended", KNOWN.id, "user-1", **ended),
            told("watchlist.added", MIDDLING.id, "user-1"),
            told("playback.session.rewound", OBSCURE.id, "user-1"),
            clicked(SERIES.id, "user-1"),
        ]
    )
    await settled(database, {KNOWN.id: 4.0, MIDDLING.id: 2.0, SERIES.id: 1.0})


async def test_removed_contents_never_appear_and_merged_ones_count_for_the_survivor(discovery, database, bus):
    twin = film("Obscure twin", 0.05, "GB")
    await save(database, twin)
    for number, one in enumerate((OBSCURE, twin) * 6):
        await bus.publish([clicked(one.id, f"user-{number}"), clicked(MIDDLING.id, f"user-{number}")])
    await settled(database, {OBSCURE.id: 6.0, twin.id: 6.0, MIDDLING.id: 12.0})
    await remove(database, MIDDLING.id)
    await merge(database, twin.id, into=OBSCURE.id)
    await settled(database, {OBSCURE.id: 12.0, MIDDLING.id: 12.0})
    for path in (f"{TRENDING}?window=day", f"{POPULAR}?window=day"):

        async def shown(path: str = path) -> bool:
            return (await look(discovery, path))[0] == ["Obscure", "Known", "Serial"]

        await eventually(shown, timeout_s=30)


WRONG = [
    (f"{TRENDING}?window=year", "window"),
    (f"{TRENDING}?window=", "window"),
    (f"{POPULAR}?window=Week", "window"),
    (f"{POPULAR}?window=day&window=week", "window"),
    (f"{TRENDING}?region=gb", "region"),
    (f"{POPULAR}?region=001&window=day", "region"),
    (f"{POPULAR}?since=day", "since"),
    (f"{EXPIRING}?region=gb", "region"),
    (f"{EXPIRING}?platform=A%20B", "platform"),
    (f"{EXPIRING}?days=0", "days"),
]


async def test_wrong_questions_are_refused_by_the_name_of_their_field(discovery):
    for path, field in WRONG:
        status, problem = await discovery.get(path)
        assert (status, [error["field"] for error in problem["errors"]]) == (400, [field]), path
    _, problem = await discovery.get(f"{TRENDING}?window=year")
    assert all(window in problem["errors"][0]["message"] for window in ("day", "week", "month"))
    body = {"search_id": str(uuid7()), "content_id": str(uuid4()), "position": 1, "region": "001"}
    async with discovery.session.post(f"{discovery.url}/api/v1/search/clicks", json=body) as response:
        problem = await response.json(content_type=None)
        assert (response.status, [error["field"] for error in problem["errors"]]) == (400, ["region"])


async def test_offerings_are_expiring_up_to_the_very_end_of_the_days_asked_for(discovery, database):
    minute = timedelta(minutes=1)
    now = datetime.now(UTC)
    ends = {
        "Just over": Offer(platform="netflix", available_until=now - minute),
        "In a moment": Offer(platform="netflix", available_until=now + 10 * minute),
        "Within": Offer(platform="netflix", available_until=now + 2 * DAY - minute),
        "Beyond": Offer(platform="netflix", available_until=now + 2 * DAY + 10 * minute),
        "Delisted": Offer(platform="netflix", available_until=now + DAY, ended_at=now - minute),
        "Not begun": Offer(
            platform="netflix", available_from=now + 10 * minute, available_until=now + DAY, source="other"
        ),
        "Elsewhere": Offer(platform="netflix", region="GB", available_until=now + DAY),
        "For ever": Offer(platform="netflix"),
    }
    await save(database, *(Film(title=title, offerings=(offer,)) for title, offer in ends.items()))
    assert await look(discovery, f"{EXPIRING}?days=2&region=US") == (["In a moment", "Within"], "")
    assert (await look(discovery, f"{EXPIRING}?days=2"))[0] == ["In a moment", "Elsewhere", "Within"]
    assert (await look(discovery, f"{EXPIRING}?days=3&region=US&platform=netflix"))[0] == [
        "In a moment",
        "Within",
        "Beyond",
    ]
    status, problem = await discovery.get(f"{EXPIRING}?platform=nobody")
    assert (status, problem["errors"][0]["field"]) == (400, "platform")
    _, answer = await discovery.get(f"{EXPIRING}?days=2&region=GB")
    (item,) = answer["results"]
    assert item["available_until"].endswith(("Z", "+00:00"))
    assert datetime.fromisoformat(item["available_until"]) == ends["Elsewhere"].available_until
