"""Autocompletion through discovery's door, fed by the real catalogue and bus."""

from typing import Any

import pytest

from tests.support.discovery import Discovery, relaying, running_discovery
from tests.support.films import Film, merge, remove, save
from tests.support.waiting import eventually

ALIEN = Film(
    title="Alien",
    alternate_titles={"hu": "A nyolcadik utas: a Halál"},
    release_year=1979,
    popularity_score=0.9,
    genres=("horror", "science_fiction"),
    people=(("director", "Ridley Scott"), ("actor", "Sigourney Weaver")),
)
ALIENS = Film(
    title="Aliens", release_year=1986, popularity_score=0.8, people=(("actor", "Sigourney Weaver"),)
)


async def suggested(discovery: Discovery, q: str, **more: Any) -> list[dict[str, Any]]:
    status, answer = await discovery.get("/api/v1/search/autocomplete", params={"q": q, **more})
    assert status == 200, answer
    assert answer["q"] == q.strip()
    found: list[dict[str, Any]] = answer["suggestions"]
    return found


async def texts(discovery: Discovery, q: str, **more: Any) -> list[str]:
    return [suggestion["text"] for suggestion in await suggested(discovery, q, **more)]


@pytest.fixture
async def discovery(database, database_url, redis_url):
    await save(database, ALIEN, ALIENS, announce=False)
    async with running_discovery(database_url, redis_url) as running:

        async def built() -> bool:
            return bool(await texts(running, "alien"))

        await eventually(built, timeout_s=30)
        yield running


async def test_titles_people_and_genres_are_suggested_with_what_a_client_needs(discovery):
    title, other = await suggested(discovery, "  ALIÉN ")
    assert title == {
        "text": "Alien",
        "kind": "title",
        "content_id": str(ALIEN.id),
        "release_year": 1979,
        "matched_by": "prefix",
    }
    assert other["content_id"] == str(ALIENS.id)
    (person,) = await suggested(discovery, "sigorney")
    assert person == {
        "text": "Sigourney Weaver",
        "kind": "person",
        "content_id": None,
        "release_year": None,
        "matched_by": "typo",
    }
    (genre,) = await suggested(discovery, "fic")
    assert (genre["text"], genre["kind"], genre["matched_by"]) == ("Science fiction", "genre", "word")
    assert await texts(discovery, "nyolcadik") == ["A nyolcadik utas: a Halál (Alien)"]
    assert await texts(discovery, "alien", limit=1) == ["Alien"]
    assert await texts(discovery, "nothing like it") == []


async def test_new_contents_appear_and_removed_ones_vanish_with_their_people(
    database, redis, database_url, redis_url
):
    gone = Film(title="Vanishing Point", people=(("actor", "Barry Newman"),), genres=("western",))
    twin, heir = Film(title="Twin Peak"), Film(title="Heir Apparent")
    await save(database, gone, twin, heir)
    async with relaying(database, redis), running_discovery(database_url, redis_url) as discovery:

        async def built() -> bool:
            return await texts(discovery, "barry") == ["Barry Newman"]

        await eventually(built, timeout_s=30)
        assert await texts(discovery, "vanish") == ["Vanishing Point"]
        await save(database, Film(title="Fresh Arrival", people=(("actor", "New Face"),)))

        async def arrived() -> bool:
            return [await texts(discovery, q) for q in ("fresh arr", "face")] == [
                ["Fresh Arrival"],
                ["New Face"],
            ]

        await eventually(arrived)
        await remove(database, gone.id)
        await merge(database, twin.id, into=heir.id)

        async def left() -> bool:
            found = [await texts(discovery, q) for q in ("vanish", "barry newman", "western", "twin", "heir")]
            return found == [[], [], [], [], ["Heir Apparent"]]

        await eventually(left)


async def test_what_events_missed_is_repaired_by_comparison(database, database_url, redis_url):
    film = Film(title="Working Title", people=(("actor", "Early Bird"),))
    await save(database, film, announce=False)
    async with running_discovery(database_url, redis_url, index_reconcile_s=0.1) as discovery:

        async def built() -> bool:
            return await texts(discovery, "working") == ["Working Title"]

        await eventually(built, timeout_s=30)
        film.title, film.people = "Final Title", (("actor", "Late Bird"),)
        await save(database, film, announce=False)

        async def repaired() -> bool:
            found = [await texts(discovery, q) for q in ("working", "final", "bird")]
            return found == [[], ["Final Title"], ["Late Bird"]]

        await eventually(repaired)


REFUSED = {
    "": "q",
    "q=": "q",
    "q=%20%09": "q",
    f"q={'x' * 101}": "q",
    f"q={'x' * 5_000}": "q",
    "q=a%00b": "query",
    "q=a&q=b": "q",
    "q=a&limit=0": "limit",
    "q=a&limit=21": "limit",
    "q=a&limit=many": "limit",
    "q=a&user_id=1": "user_id",
}
ODD = ("🎬", "👩‍👩‍👧‍👦 family", "\u202eneila", "مرحبا", "' OR 1=1; --", 'title:"', "*", "ǅ" * 100, "a " * 50)


async def test_bad_input_is_refused_by_the_name_of_its_field_and_odd_text_is_answered(discovery):
    for query, field in REFUSED.items():
        status, problem = await discovery.get(f"/api/v1/search/autocomplete?{query}")
        assert status == 400, query
        assert [error["field"] for error in problem["errors"]] == [field], query
    status, problem = await discovery.get(f"/api/v1/search/autocomplete?q={'x' * 10_000}")
    assert (status, problem["code"]) == (431, "header_too_large")
    for typed in ODD:
        assert await texts(discovery, typed) is not None, typed


async def test_the_document_describes_it(discovery):
    _, document = await discovery.get("/openapi.json")
    operation = document["paths"]["/api/v1/search/autocomplete"]["get"]
    parameters = {
        parameter["name"]: parameter for parameter in operation["parameters"] if "name" in parameter
    }
    assert parameters["q"]["required"]
    assert parameters["q"]["schema"]["maxLength"] == 100
    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 20)
