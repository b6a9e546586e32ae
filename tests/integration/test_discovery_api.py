from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from media_gateway.core.tokens import mint_token
from tests.support.discovery import SECRET, running_discovery
from tests.support.films import Film, Offer, merge, remove, save

pytestmark = pytest.mark.usefixtures("models_path")

NOW = datetime.now(UTC)
DAY = timedelta(days=1)

ALIEN = Film(
    title="Alien",
    original_title="Alien",
    alternate_titles={"hu": "A nyolcadik utas: a Halál"},
    overview="A crew meets something that should not have been woken.",
    release_year=1979,
    release_date=date(1979, 5, 25),
    genres=("horror", "science_fiction"),
    keywords=("space",),
    popularity_score=0.9,
    average_rating=8.5,
    images={"poster": "https://images.example/alien.jpg"},
    people=(("director", "Ridley Scott"), ("actor", "Sigourney Weaver"), ("actor", "John Hurt")),
    external_ids={"imdb": "tt0078748", "tmdb:movie": "348", "platform:netflix": "70003"},
    offerings=(
        Offer(platform="netflix", demo=True),
        Offer(platform="disney_plus", region="GB", source="other", available_until=NOW + DAY),
        Offer(
            platform="apple_tv",
            availability_type="rental",
            price_cents=399,
            currency="USD",
            ended_at=NOW - DAY,
        ),
        Offer(platform="mubi", available_from=NOW + DAY),
        Offer(platform="max", available_until=NOW - DAY),
    ),
)
ALIENS = Film(title="Aliens", release_year=1986, popularity_score=0.8, genres=("action",))
RECENT = Film(
    title="Fresh Air",
    release_year=NOW.year,
    popularity_score=0.6,
    offerings=(Offer(platform="netflix", region="GB"),),
)
SERIES = Film(title="Long Story", content_type="series", release_year=NOW.year, popularity_score=0.1)


@pytest.fixture
async def discovery(database, database_url, redis_url):
    await save(database, ALIEN, ALIENS, RECENT, SERIES)
    async with running_discovery(database_url, redis_url) as running:
        await running.built()
        yield running


async def test_search_answers_with_what_a_list_needs(discovery):
    answer = await discovery.search("alien", page_size=1)
    assert answer["total_count"] == 2
    assert (answer["page"], answer["page_size"], answer["degraded"]) == (1, 1, False)
    assert answer["query_parsed"] == {
        "text": "alien",
        "terms": ["alien"],
        "query_class": "title_like",
        "intent": "words",
        "conditions": None,
        "references": [],
        "noticed": None,
        "by": "rules",
        "relaxed": None,
    }
    assert answer["search_time_ms"] > 0
    (hit,) = answer["results"]
    assert hit["relevance_score"] == 1.0
    assert hit["match_reasons"] == ["title matches exactly"]
    assert hit["content"] == {
        "id": str(ALIEN.id),
        "title": "Alien",
        "original_title": "Alien",
        "content_type": "movie",
        "overview": ALIEN.overview,
        "release_year": 1979,
        "genres": ["horror", "science_fiction"],
        "platforms": ["disney_plus", "netflix"],
        "demo_platforms": ["netflix"],
        "popularity_score": 0.9,
        "average_rating": 8.5,
        "maturity_rating": None,
        "poster": "https://images.example/alien.jpg",
    }
    assert await discovery.titles("alien", page_size=1, page=2) == ["Aliens"]
    assert await discovery.titles("alien", page=3) == []


async def test_search_finds_by_person_other_title_and_description(discovery):
    assert await discovery.titles("sigourney weaver") == ["Alien"]
    assert (await discovery.titles("a nyolcadik utas a halal"))[0] == "Alien"
    assert (await discovery.titles("crew that should not have been woken"))[0] == "Alien"


async def test_search_filters_narrow_the_answer(discovery):
    assert await discovery.titles("alien", filters={"genres": ["action", "western"]}) == ["Aliens"]
    assert await discovery.titles("alien", filters={"platforms": ["netflix"]}) == ["Alien"]
    assert await discovery.titles("alien", filters={"year_from": 1980, "year_to": 1990}) == ["Aliens"]
    assert await discovery.titles("alien", filters={"content_types": ["series"]}) == []


async def test_content_is_shown_whole(discovery):
    status, view = await discovery.get(f"/api/v1/content/{ALIEN.id}")
    assert status == 200
    assert view["title"] == "Alien"
    assert view["release_date"] == "1979-05-25"
    assert view["average_rating"] == 8.5
    assert view["alternate_titles"] == ALIEN.alternate_titles
    assert view["external_ids"]["imdb"] == "tt0078748"
    assert view["external_ids"]["tmdb"] == 348
    assert view["external_ids"]["platforms"] == {"netflix": "70003"}
    assert [(credit["role"], credit["name"]) for credit in view["credits"]] == [
        ("actor", "Sigourney Weaver"),
        ("actor", "John Hurt"),
        ("director", "Ridley Scott"),
    ]
    assert view["images"]["poster"] == "https://images.example/alien.jpg"
    assert view["availability"] == {
        "platforms": ["disney_plus", "netflix"],
        "regions": ["GB", "US"],
        "offerings": 2,
        "demo": True,
    }
    assert view["sources"] == ["demo"]


async def test_a_content_without_offerings_has_an_empty_summary(discovery):
    _, view = await discovery.get(f"/api/v1/content/{ALIENS.id}")
    assert view["availability"] == {"platforms": [], "regions": [], "offerings": 0, "demo": False}


@pytest.mark.parametrize("suffix", ["", "/availability"])
async def test_merged_ids_lead_on_and_removed_or_unknown_ones_are_told_apart(discovery, database, suffix):
    first, second = uuid4(), uuid4()
    gone = Film(title="Gone")
    await save(database, Film(id=first, title="One"), Film(id=second, title="Two"), gone)
    await merge(database, first, into=second)
    await merge(database, second, into=ALIEN.id)
    await remove(database, gone.id)

    status, view = await discovery.get(f"/api/v1/content/{first}{suffix}")
    assert (status, view.get("id", view.get("content_id"))) == (200, str(ALIEN.id))
    status, problem = await discovery.get(f"/api/v1/content/{gone.id}{suffix}")
    assert (status, problem["code"]) == (404, "content_removed")
    status, problem = await discovery.get(f"/api/v1/content/{uuid4()}{suffix}")
    assert (status, problem["code"]) == (404, "not_found")


async def test_availability_lists_what_is_in_effect_with_its_source(discovery):
    async def platforms(query: str = "") -> list[str]:
        status, answer = await discovery.get(f"/api/v1/content/{ALIEN.id}/availability{query}")
        assert status == 200
        assert answer["total_count"] == len(answer["offerings"])
        return [offering["platform"] for offering in answer["offerings"]]

    assert await platforms() == ["disney_plus", "netflix"]
    assert await platforms("?region=GB") == ["disney_plus"]
    assert await platforms("?platform=netflix") == ["netflix"]
    assert await platforms("?include_ended=true") == ["apple_tv", "disney_plus", "max", "mubi", "netflix"]
    _, answer = await discovery.get(
        f"/api/v1/content/{ALIEN.id}/availability?include_ended=true&platform=apple_tv"
    )
    (offering,) = answer["offerings"]
    assert (offering["price_cents"], offering["currency"], offering["source"]) == (399, "USD", "demo")
    assert (offering["demo"], offering["availability_type"]) == (False, "rental")
    assert datetime.fromisoformat(offering["ended_at"]) == NOW - DAY


async def test_trending_prefers_popular_and_recent(discovery):
    async def titles(query: str = "") -> list[str]:
        status, answer = await discovery.get(f"/api/v1/content/trending{query}")
        assert status == 200
        scores = [item["trending_score"] for item in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        return [item["content"]["title"] for item in answer["results"]]

    assert await titles() == ["Fresh Air", "Long Story", "Aliens", "Alien"]
    assert await titles("?limit=1") == ["Fresh Air"]
    assert await titles("?content_type=series") == ["Long Story"]
    assert await titles("?region=GB") == ["Fresh Air", "Alien"]


async def test_a_good_token_is_taken_and_a_bad_one_is_no_anonymous_caller(discovery):
    async def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        body = {"query": "alien"}
        async with discovery.session.post(
            f"{discovery.url}/api/v1/search", json=body, headers=headers
        ) as response:
            return int(response.status)

    assert await status(mint_token(SECRET, "user-1")) == 200
    assert await status(mint_token("another secret, also longer than 32 bytes", "user-1")) == 401
    assert await status("rubbish") == 401


WRONG_BODIES = [
    ({}, "query"),
    ({"query": ""}, "query"),
    ({"query": " \t\n"}, "query"),
    ({"query": "x" * 10_000}, "query"),
    ({"query": "a\x00b"}, "query"),
    ({"query": 7}, "query"),
    ({"query": "x", "page": 0}, "page"),
    ({"query": "x", "page": -1}, "page"),
    ({"query": "x", "page": 10**9}, "page"),
    ({"query": "x", "page": 101, "page_size": 100}, "page"),
    ({"query": "x", "page": 10**30}, "page"),
    ({"query": "x", "page": "1"}, "page"),
    ({"query": "x", "page_size": 0}, "page_size"),
    ({"query": "x", "page_size": 10**6}, "page_size"),
    ({"query": "x", "filters": {"genres": ["romcom"]}}, "filters.genres.0"),
    ({"query": "x", "filters": {"genres": "drama"}}, "filters.genres"),
    ({"query": "x", "filters": {"platforms": ["Netflix; DROP"]}}, "filters.platforms.0"),
    ({"query": "x", "filters": {"content_types": ["opera"]}}, "filters.content_types.0"),
    ({"query": "x", "filters": {"year_from": 2000, "year_to": 1990}}, "filters.year_to"),
    ({"query": "x", "filters": {"year_from": 0}}, "filters.year_from"),
    ({"query": "x", "filters": {"mood": "sad"}}, "filters.mood"),
    ({"query": "x", "user_id": "someone else"}, "user_id"),
]

WRONG_ADDRESSES = [
    ("/api/v1/content/not-an-id", "content_id"),
    ("/api/v1/content/not-an-id/availability", "content_id"),
    (f"/api/v1/content/{uuid4()}/availability?region=usa", "region"),
    (f"/api/v1/content/{uuid4()}/availability?platform=A%20B", "platform"),
    (f"/api/v1/content/{uuid4()}/availability?include_ended=maybe", "include_ended"),
    (f"/api/v1/content/{uuid4()}/availability?regoin=GB", "regoin"),
    ("/api/v1/content/trending?limit=0", "limit"),
    ("/api/v1/content/trending?limit=101", "limit"),
    ("/api/v1/content/trending?content_type=opera", "content_type"),
]

STRANGE_QUERIES = [
    "🎬🍿",
    "مرحبا بالعالم",
    "שלום",
    'title:"',
    "((((",
    "* OR *",
    "a AND NOT b",
    "'; DROP TABLE contents; --",
    "the",
    "^2~",
]


async def test_wrong_input_is_refused_by_the_name_of_its_field(empty_discovery):
    for body, field in WRONG_BODIES:
        async with empty_discovery.session.post(
            f"{empty_discovery.url}/api/v1/search", json=body
        ) as response:
            problem = await response.json(content_type="application/problem+json")
            assert response.status == 400, body
        assert field in [error["field"] for error in problem["errors"]], body


async def test_wrong_addresses_are_refused_by_the_name_of_their_field(empty_discovery):
    for path, field in WRONG_ADDRESSES:
        status, problem = await empty_discovery.get(path)
        assert (status, [error["field"] for error in problem["errors"]]) == (400, [field]), path


async def test_strange_queries_are_searched_like_any_other(empty_discovery):
    for query in STRANGE_QUERIES:
        answer = await empty_discovery.search(query)
        assert answer["total_count"] >= len(answer["results"]), query


@pytest.fixture
async def empty_discovery(database_url, redis_url):
    async with running_discovery(database_url, redis_url) as running:
        yield running
