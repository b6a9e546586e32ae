"""Whatever people type over a catalogue of real titles: an answer, soon, the same each time, and never a server error."""

import random
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import strategies as st

from media_gateway.core.adapters.postgres import Database
from tests.support.discovery import Discovery, running_discovery
from tests.support.examples import for_all
from tests.support.films import Film, Offer, save
from tests.support.servers import Urls, fresh_database
from tests.support.waiting import eventually

REDIS_DATABASE = 62
"""Above those that the workers of a run use: this discovery outlives single tests."""

LIMIT_S = 1.0
"""Of computing: this machine is shared."""

TITLES = (
    "Airplane!",
    "M*A*S*H",
    "WALL·E",
    "Se7en",
    "8½",
    "Alien³",
    "What's Up, Doc?",
    "…And Justice for All",
    "(500) Days of Summer",
    "¡Three Amigos!",
    "Amélie",
    "Les Misérables",
    "It",
    "If....",
    "The Who",
    "To Be or Not to Be",
    "And Then There Were None",
    "Them!",
    "AND",
    "Title: The Story",
    "Crouching Tiger, Hidden Dragon",
    "Star Wars: Episode IV – A New Hope",
    "Face/Off",
    "Monsters, Inc.",
    "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb",
    "千と千尋の神隠し",
    "ואלס עם באשיר",
    "جدایی نادر از سیمین",
    "Сталкер",
    "기생충",
    "ต้มยำกุ้ง",
    "Žižek!",
    "Ægir and Ølrun",
    "1917",
    "tick, tick... BOOM!",
    "'; DROP TABLE contents; --",
)
OF_COMMON_WORDS = ("It", "Them!", "AND", "The Who", "To Be or Not to Be", "Title: The Story")
_RNG = random.Random(3)
_WORDS = (
    "robot",
    "ghost",
    "river",
    "wedding",
    "train",
    "doctor",
    "the",
    "of",
    "love",
    "war",
    "title",
    "not",
    "or",
)
FILMS = [
    Film(
        id=UUID(int=number),
        title=title,
        overview=f"About {' '.join(_RNG.choices(_WORDS, k=12))}.",
        genres=("drama", "comedy")[: 1 + _RNG.randrange(2)],
        popularity_score=_RNG.random(),
        people=(("director", "Ann O'Maker"), ("actor", f"Bo Lead-{_RNG.randrange(5)}")),
        offerings=(Offer(platform=_RNG.choice(["netflix", "mubi"]), region="GB"),),
    )
    for number, title in enumerate((*TITLES, *(f"Number {n} of {_RNG.choice(_WORDS)}" for n in range(150))))
]

SIGNS = (
    '"',
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "*",
    "?",
    "!",
    "+",
    "-",
    "~",
    ":",
    "/",
    "\\",
    "^",
    "||",
    "«",
    "…",
    "\u202e",
)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
SYNTAX = (
    "title:",
    '"',
    "(",
    ")",
    "[a TO b]",
    "{",
    "*",
    "~2",
    "^9",
    "AND",
    "OR",
    "NOT",
    "+",
    "-",
    "\\",
    "IN [",
    "🎬",
    "שלום",
    "'; --",
)
WORDY = st.lists(
    st.sampled_from((*SYNTAX, *_WORDS, *TITLES, "not", "like", "19", "90s")), min_size=1, max_size=8
)
TYPED = ANY_TEXT | WORDY.map(" ".join) | WORDY.map("".join)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def discovery(warm_servers: Urls) -> AsyncIterator[Discovery]:
    """One for all: nothing here changes the catalogue."""
    redis_url = f"{warm_servers.redis.rpartition('/')[0]}/{REDIS_DATABASE}"
    async with fresh_database(warm_servers.postgres) as database_url:
        database = Database(database_url)
        await save(database, *FILMS, announce=False)
        await database.close()
        async with running_discovery(database_url, redis_url) as running:

            async def whole() -> bool:
                return len((await running.get("/api/v1/content/popular?limit=100"))[1]["results"]) == 100

            await eventually(whole, timeout_s=60)
            yield running


async def search(discovery: Discovery, query: str, **more: Any) -> tuple[int, dict[str, Any]]:
    body = {"query": query, **more}
    async with discovery.session.post(f"{discovery.url}/api/v1/search", json=body) as response:
        return response.status, await response.json(content_type=None)


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["content"]["id"] for hit in answer["results"]]


async def test_any_query_is_answered_soon_and_in_the_same_order_when_it_is_asked_again(discovery):
    async def check(query: str) -> None:
        started = time.process_time()
        # Explained, it is another entry of the cache: the order is made anew.
        answers = [await search(discovery, query, explain=explain) for explain in (False, True)]
        took_s = time.process_time() - started
        statuses = {status for status, _ in answers}
        assert statuses == ({200} if query.strip() else {400})
        assert took_s < 2 * LIMIT_S
        if query.strip():
            # On a busy machine a leg may be late for one of them.
            if not any(answer["degraded"] for _, answer in answers):
                assert ids(answers[0][1]) == ids(answers[1][1])
            assert len(set(ids(answers[0][1]))) == len(answers[0][1]["results"])

    await for_all(check, max_examples=150, query=TYPED)


async def test_any_text_is_completed_soon_and_with_the_same_suggestions(discovery):
    async def check(q: str) -> None:
        started = time.process_time()
        found = [await discovery.get("/api/v1/search/autocomplete", params={"q": q}) for _ in range(2)]
        took_s = time.process_time() - started
        expected = 200 if 1 <= len(q.strip()) <= 100 else 400
        assert [status for status, _ in found] == [expected] * 2
        assert found[0][1].get("suggestions") == found[1][1].get("suggestions")
        assert took_s < 2 * LIMIT_S

    await for_all(check, max_examples=150, q=TYPED)


async def test_a_whole_title_is_found_whatever_signs_stand_around_it(discovery):
    signs = st.lists(st.sampled_from(SIGNS), max_size=4).map("".join)

    async def check(film: Film, before: str, after: str) -> None:
        status, answer = await search(discovery, f"{before}{film.title}{after}")
        assert status == 200
        (first, *_) = answer["results"]
        assert (first["content"]["title"], first["relevance_score"]) == (film.title, 1.0)

    titles = st.sampled_from([film for film in FILMS if film.title in TITLES])
    await for_all(check, max_examples=200, film=titles, before=signs, after=signs)


async def test_a_whole_title_is_found_behind_words_of_a_query_language(discovery):
    patterns = ("title:{}", 'title:"{}"', "{}^2", "({}~2)", "[{} TO *]", "+{} -", "{}; --", "{} OR 1=1")

    async def check(film: Film, pattern: str) -> None:
        status, answer = await search(discovery, pattern.format(film.title), page_size=100)
        assert status == 200
        assert str(film.id) in ids(answer)

    # Of the others, hundreds of films may have as many words.
    telling = [film for film in FILMS if film.title in TITLES and film.title not in OF_COMMON_WORDS]
    await for_all(check, film=st.sampled_from(telling), pattern=st.sampled_from(patterns))


async def test_queries_at_their_bounds(discovery):
    cases = {
        "": 400,
        " \t": 400,
        "x" * 10_000: 400,
        "a\x00b": 400,
        "\ufdfa" * 500: 200,
        "a " * 250: 200,
        "e\u0301" * 250: 200,
        "the of a": 200,
        "🎬" * 500: 200,
    }
    for query, expected in cases.items():
        started = time.process_time()
        status, answer = await search(discovery, query)
        assert status == expected, query[:20]
        assert status == 200 or [error["field"] for error in answer["errors"]] == ["query"]
        assert time.process_time() - started < LIMIT_S, query[:20]


UNKNOWN: tuple[tuple[str, str, str], ...] = (
    ("/api/v1/content/popular", "platform", "mubi, netflix"),
    ("/api/v1/content/expiring", "platform", "mubi, netflix"),
    (f"/api/v1/content/{FILMS[0].id}/similar", "platform", "mubi, netflix"),
    ("/api/v1/content/popular", "genre", "'western'"),
    (f"/api/v1/content/{FILMS[0].id}/similar", "genre", "'western'"),
    ("/api/v1/content/popular", "content_type", "'movie'"),
    ("/api/v1/content/trending", "content_type", "'movie'"),
)


@pytest.mark.parametrize(("path", "field", "named"), UNKNOWN)
async def test_an_unknown_name_is_refused_with_those_that_are_known(discovery, path, field, named):
    status, problem = await discovery.get(path, params={field: "betamax"})
    assert status == 400
    (error,) = problem["errors"]
    assert error["field"] == field
    assert named in error["message"]


async def test_an_unknown_name_in_a_filter_is_refused_with_those_that_are_known(discovery):
    for filters, field, named in (
        ({"platforms": ["netflix", "betamax"]}, "filters.platforms.1", "mubi, netflix"),
        ({"genres": ["romcom"]}, "filters.genres.0", "'romance'"),
        ({"blocked_genres": ["romcom"]}, "filters.blocked_genres.0", "'romance'"),
        ({"availability_types": ["stolen"]}, "filters.availability_types.0", "'rental'"),
        ({"content_types": ["opera"]}, "filters.content_types.0", "'movie'"),
        ({"content_rating_limit": "XXX"}, "filters.content_rating_limit", "'PG-13'"),
        ({"rating_from": 7, "rating_to": 3}, "filters.rating_to", "rating_from"),
        ({"year_from": 2000, "year_to": 1999}, "filters.year_to", "year_from"),
    ):
        status, problem = await search(discovery, "robot", filters=filters)
        assert status == 400, filters
        (error,) = problem["errors"]
        assert (error["field"], named in error["message"]) == (field, True), problem


async def test_pages_of_any_size_are_cut_from_one_list(discovery):
    async def all_pages(page_size: int, **asked: Any) -> list[str]:
        listed, page = list[str](), 1
        while found := ids((await search(discovery, **asked, page=page, page_size=page_size))[1]):
            listed += found
            page += 1
        return listed

    async def check(words: list[str], size: int, genres: list[str]) -> None:
        asked: dict[str, Any] = {"query": " ".join(words), "filters": {"genres": genres}}
        whole = await all_pages(100, **asked)
        assert await all_pages(size, **asked) == whole
        assert len(set(whole)) == len(whole)

    words = st.lists(st.sampled_from((*_WORDS, "number", "drama", "lead")), min_size=1, max_size=4)
    genres = st.lists(st.sampled_from(["drama", "comedy"]), max_size=1)
    await for_all(check, max_examples=12, words=words, size=st.integers(12, 60), genres=genres)
