"""Lists that need no query: popular, expiring, similar, genres."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.discovery import running_discovery
from tests.support.films import Film, Offer, merge, remove, save

NOW = datetime.now(UTC)
DAY = timedelta(days=1)

SPACE = Film(
    title="Star Crew",
    genres=("science_fiction", "action"),
    keywords=("spaceship", "alien"),
    popularity_score=0.9,
    people=(("director", "Ann Maker"), ("actor", "Bo Lead")),
    offerings=(
        Offer(platform="netflix", region="GB", available_until=NOW + 3 * DAY),
        Offer(platform="mubi", region="US", available_until=NOW + 40 * DAY),
    ),
)
SEQUEL = Film(title="Star Crew 2", genres=("science_fiction",), popularity_score=0.2)
SAME_MAKER = Film(
    title="Quiet Street",
    genres=("drama",),
    popularity_score=0.5,
    people=(("director", "Ann Maker"),),
    offerings=(
        Offer(platform="netflix", region="GB", available_until=NOW + DAY),
        Offer(platform="netflix", region="US", ended_at=NOW - DAY, available_until=NOW + DAY),
    ),
)
OTHER = Film(
    title="Wedding Cake",
    content_type="series",
    genres=("comedy",),
    popularity_score=0.7,
    offerings=(Offer(platform="mubi", region="GB"),),
)
FILMS = (SPACE, SEQUEL, SAME_MAKER, OTHER)


@pytest.fixture
async def discovery(database, database_url, redis_url):
    await save(database, *FILMS)
    async with running_discovery(database_url, redis_url) as running:
        await running.holds(len(FILMS))
        yield running


async def titles(discovery, path: str) -> list[str]:
    status, answer = await discovery.get(path)
    assert status == 200, answer
    return [item.get("content", item)["title"] for item in answer["results"]]


async def test_popular_contents_come_by_popularity_and_filters_hold(discovery):
    path = "/api/v1/content/popular"
    assert await titles(discovery, path) == ["Star Crew", "Wedding Cake", "Quiet Street", "Star Crew 2"]
    assert await titles(discovery, f"{path}?region=GB&platform=netflix") == ["Star Crew", "Quiet Street"]
    assert await titles(discovery, f"{path}?genre=science_fiction&limit=1") == ["Star Crew"]
    assert await titles(discovery, f"{path}?content_type=series") == ["Wedding Cake"]


async def test_offerings_that_end_soon_come_by_their_end(discovery):
    path = "/api/v1/content/expiring"
    assert await titles(discovery, path) == ["Quiet Street", "Star Crew"]
    assert await titles(discovery, f"{path}?days=60") == ["Quiet Street", "Star Crew", "Star Crew"]
    assert await titles(discovery, f"{path}?days=60&region=US") == ["Star Crew"]
    _, answer = await discovery.get(f"{path}?days=2")
    (item,) = answer["results"]
    assert (item["platform"], item["region"], item["availability_type"]) == ("netflix", "GB", "subscription")
    assert datetime.fromisoformat(item["available_until"]) == SAME_MAKER.offerings[0].available_until


async def test_similar_contents_say_what_they_have_in_common(discovery):
    path = f"/api/v1/content/{SPACE.id}/similar"
    status, answer = await discovery.get(path)
    assert status == 200
    assert answer["content_id"] == str(SPACE.id)
    found = {item["content"]["title"]: item for item in answer["results"]}
    assert next(iter(found)) == "Star Crew 2"
    assert found["Star Crew 2"]["reasons"] == ["of the same series", "genres: science fiction"]
    assert found["Quiet Street"]["reasons"] == ["director: Ann Maker"]
    assert "Star Crew" not in found
    scores = [item["similarity_score"] for item in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert await titles(discovery, f"{path}?genre=drama") == ["Quiet Street"]


async def test_similar_follows_a_merge_and_says_when_there_is_nothing(discovery, database):
    old = Film(title="Star Crew", id=uuid4())
    await save(database, old)
    await merge(database, old.id, SPACE.id)
    assert (await discovery.get(f"/api/v1/content/{old.id}/similar"))[1]["content_id"] == str(SPACE.id)
    status, problem = await discovery.get(f"/api/v1/content/{uuid4()}/similar")
    assert (status, problem["code"]) == (404, "not_found")
    await remove(database, OTHER.id)
    status, problem = await discovery.get(f"/api/v1/content/{OTHER.id}/similar")
    assert (status, problem["code"]) == (404, "content_removed")


async def test_genres_are_counted(discovery):
    _, answer = await discovery.get("/api/v1/genres")
    counted = {item["genre"]: item["count"] for item in answer["genres"]}
    assert counted == {"science_fiction": 2, "action": 1, "comedy": 1, "drama": 1}
    assert answer["genres"][0]["genre"] == "science_fiction"
