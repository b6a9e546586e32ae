"""Searching by words and meaning at once: filters, counts and pages against what a plain loop over all films gives."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import strategies as st

from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.vectors import Vector, VectorPayload, VectorPoint
from media_gateway.core.errors import UnavailableError
from media_gateway.discovery import legs
from media_gateway.discovery.filters import MATURITY_LEVELS, SearchFilter
from media_gateway.discovery.legs import VECTOR_DEPTH, TextAnswer, TextLeg, TitleLeg, VectorLeg
from media_gateway.discovery.ranking import LegTimeouts, Variant
from media_gateway.discovery.services.search import SearchAnswer, SearchQuery, SearchService
from media_gateway.discovery.store import CatalogueReader
from media_gateway.discovery.text_index import QueryText, TextIndex, analyse
from tests.support.examples import for_all
from tests.support.films import Film, Offer, save
from tests.support.ingestion import WordEmbedder
from tests.support.searching import service_over
from tests.support.servers import fresh_database

GENRES = ("horror", "comedy", "western", "drama")
PLATFORMS = ("netflix", "mubi", "max")
REGIONS = ("GB", "US", "FR")
KINDS = ("subscription", "rental")
WORDS = ["ship", "robot", "ghost", "river", "heist", "wedding", "desert", "island", "train", "doctor"]
EVERYTHING = SearchFilter()

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = Variant(leg_timeouts_ms=LegTimeouts(text=10_000, title=10_000, vector=10_000))
HASTY = Variant(leg_timeouts_ms=LegTimeouts(text=10_000, title=10_000, vector=50))


def made_up(rng: random.Random, number: int) -> Film:
    return Film(
        title=f"{rng.choice(WORDS)} {rng.choice(WORDS)} {number}",
        overview=" ".join(rng.choices(WORDS, k=12)),
        release_year=rng.choice([None, *range(1950, 2025)]),
        genres=tuple(rng.sample(GENRES, rng.randrange(3))),
        popularity_score=rng.random(),
        average_rating=rng.choice([None, *(round(rng.uniform(0, 10), 1) for _ in range(3))]),
        maturity_rating=rng.choice([None, "NR", "G", "PG-13", "R", "TV-MA"]),
        original_language=rng.choice([None, "en", "fr"]),
        audio_languages=tuple(rng.sample(["de", "fr"], rng.randrange(2))),
        offerings=tuple(
            Offer(platform=platform, region=region, availability_type=rng.choice(KINDS))
            for platform in rng.sample(PLATFORMS, rng.randrange(3))
            for region in rng.sample(REGIONS, rng.randrange(1, 3))
        ),
    )


_RNG = random.Random(7)
FILMS = [made_up(_RNG, number) for number in range(400)]


def passes(film: Film, where: SearchFilter) -> bool:
    offers = [
        offer
        for offer in film.offerings
        if (not where.platforms_any or offer.platform in where.platforms_any)
        and (where.region is None or offer.region == where.region)
        and (not where.availability_types or offer.availability_type in where.availability_types)
    ]
    asks_for_offer = bool(where.platforms_any or where.region or where.availability_types)
    languages = {film.original_language, *film.audio_languages}
    level = MATURITY_LEVELS.get(film.maturity_rating or "")
    return (
        (not where.genres_any or not set(where.genres_any).isdisjoint(film.genres))
        and set(where.genres_none).isdisjoint(film.genres)
        and (not asks_for_offer or bool(offers))
        and (not where.languages_any or not languages.isdisjoint(where.languages_any))
        and within(film.release_year, where.year_from, where.year_to)
        and within(film.average_rating, where.rating_from, where.rating_to)
        and (where.maturity_level is None or (level is not None and level <= where.maturity_level))
    )


def within(value: float | None, low: float | None, high: float | None) -> bool:
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def some_filters(count: int) -> Iterator[SearchFilter]:
    rng = random.Random(11)
    for _ in range(count):
        yield SearchFilter(
            genres_any=tuple(rng.sample(GENRES, rng.choice([0, 0, 1, 2]))),
            genres_none=tuple(rng.sample(GENRES, rng.choice([0, 0, 0, 1]))),
            platforms_any=tuple(rng.sample(PLATFORMS, rng.choice([0, 0, 1, 2]))),
            availability_types=tuple(rng.sample(KINDS, rng.choice([0, 0, 1]))),
            region=rng.choice([None, None, *REGIONS]),
            languages_any=tuple(rng.sample(["en", "fr", "de"], rng.choice([0, 0, 1]))),
            year_from=rng.choice([None, None, 1970]),
            year_to=rng.choice([None, None, 2000]),
            rating_from=rng.choice([None, None, 5.0]),
            rating_to=rng.choice([None, None, 9.0]),
            maturity_level=rng.choice([None, None, 0, 2, 3]),
        )


FILTERS = [EVERYTHING, *some_filters(40)]


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


class World:
    """The films in a database, its vector table and a text index."""

    def __init__(self, database: Database, threads: ThreadPoolExecutor) -> None:
        self.embedder, self.vectors, self.index = WordEmbedder(), PgvectorIndex(database), TextIndex()
        self.catalogue, self.threads = CatalogueReader(database), threads
        self.leg = VectorLeg(self, self.vectors, self.index, threads)

    async def embed_query(self, text: str) -> Vector:
        """As `CachedEmbedder`, without a cache."""
        (vector,) = await self.embedder.embed([text])
        return np.asarray(vector, np.float32)

    async def fill(self, database: Database) -> None:
        await save(database, *FILMS, announce=False)
        contents = await self.catalogue.contents([film.id for film in FILMS])
        self.index.apply(contents)
        self.index.commit()
        await self.vectors.ensure()
        embedded = await self.embedder.embed([film.overview or "" for film in FILMS])
        points = [
            VectorPoint(
                film.id,
                vector,
                VectorPayload(
                    title=film.title,
                    content_type="movie",
                    genres=film.genres,
                    platforms=tuple({offer.platform for offer in film.offerings}),
                    release_year=film.release_year,
                ),
            )
            for film, vector in zip(FILMS, embedded, strict=True)
        ]
        for start in range(0, len(points), 100):
            await self.vectors.upsert_batch(points[start : start + 100])
        self.embedded = embedded

    def service(self, third: object) -> SearchService:
        legs = (TextLeg(self.index, self.threads), TitleLeg(self.index, self.threads), third)
        return service_over(self.index, legs, self.threads, vectors=self.vectors)

    async def search(self, text: str, where: SearchFilter = EVERYTHING, **page: int) -> SearchAnswer:
        shown = {"page": 1, "page_size": 20} | page
        query = SearchQuery(text=text, where=where, page=shown["page"], page_size=shown["page_size"])
        answer = await self.service(self.leg).search(query, PATIENT)
        assert not answer.degraded
        return answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres_server_url: str, threads: ThreadPoolExecutor) -> AsyncIterator[World]:
    """Filled once, which takes seconds."""
    async with fresh_database(postgres_server_url) as url:
        database = Database(url)
        world = World(database, threads)
        await world.fill(database)
        yield world
        world.index.close()
        await database.close()


@pytest.mark.parametrize("selective", [legs.SELECTIVE, 5], ids=["by ids", "by asking for more"])
async def test_no_filter_hides_what_passes_it_or_shows_what_does_not(world, selective, monkeypatch):
    monkeypatch.setattr(legs, "SELECTIVE", selective)
    text = "ghost ship in the desert"
    (asked,) = await world.embedder.embed([text])
    similarity = dict(zip([film.id for film in FILMS], world.embedded @ asked, strict=True))
    for where in FILTERS:
        found = (await world.leg.find(analyse(text), where)).candidates
        passing = sorted((film.id for film in FILMS if passes(film, where)), key=lambda one: -similarity[one])
        assert {one.content_id for one in found} <= set(passing)
        assert len(found) == min(VECTOR_DEPTH, len(passing)), where
        # Half-precision in the store: equals may change places.
        worst = min((one.score for one in found), default=0.0)
        assert all(similarity[one] <= worst + 2e-3 for one in passing[len(found) :])


async def test_counts_are_those_of_all_results_on_all_pages(world):
    for where in FILTERS[:6]:
        answer, results, page = await world.search("ghost river", where, page_size=100), [], 1
        while found := (await world.search("ghost river", where, page=page, page_size=100)).results:
            results += [result.content for result in found]
            page += 1
        assert answer.summary.total == len(results) == len({content.content_id for content in results})
        assert {one.value: one.count for one in answer.summary.genres} == Counter(
            genre for content in results for genre in content.genres
        )
        assert {one.value: one.count for one in answer.summary.platforms} == Counter(
            platform for content in results for platform in content.platforms
        )
        assert {one.value: one.count for one in answer.summary.years} == Counter(
            f"{content.release_year // 10}0s" for content in results if content.release_year
        )
        rated = [content.average_rating for content in results if content.average_rating is not None]
        steps = (("0-5", 0, 5), ("5-7", 5, 7), ("7-8", 7, 8), ("8-10", 8, 11))
        expected = {name: sum(low <= value < high for value in rated) for name, low, high in steps}
        assert {one.value: one.count for one in answer.summary.ratings} == {
            k: v for k, v in expected.items() if v
        }


async def test_pages_of_any_size_are_cut_from_one_order(world):
    async def paged(text: str, where: SearchFilter, size: int) -> list[object]:
        ids, page = [], 1
        while found := (await world.search(text, where, page=page, page_size=size)).results:
            ids += [result.content.content_id for result in found]
            page += 1
        return ids

    async def check(words: list[str], where: SearchFilter, size: int) -> None:
        whole = await paged(" ".join(words), where, 500)
        assert len(whole) == len(set(whole))
        assert whole == await paged(" ".join(words), where, size)

    words = st.lists(st.sampled_from([*WORDS, *GENRES, "a", "on", "1999"]), min_size=1, max_size=8)
    where = st.just(EVERYTHING) | st.sampled_from(FILTERS)
    await for_all(check, max_examples=20, words=words, where=where, size=st.integers(15, 130))


async def test_relevance_never_rises_down_the_pages(world):
    for text in ("ghost", "drama", "horror western", "robot heist on an island"):
        scores = [
            result.relevance
            for page in range(1, 5)
            for result in (await world.search(text, page=page, page_size=100)).results
        ]
        assert scores == sorted(scores, reverse=True)


class Failing:
    """A leg that fails or never answers."""

    def __init__(self, name: str, error: Exception | None) -> None:
        self.name = name
        self.error = error

    async def find(self, query: object, where: object) -> object:
        if self.error:
            raise self.error
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("error", [UnavailableError("away"), None], ids=["fails", "is late"])
async def test_a_leg_that_does_not_answer_is_left_out_and_the_answer_says_so(world, error):
    query = SearchQuery(text="ghost river", where=EVERYTHING, page=1, page_size=20)
    answer = await world.service(Failing("vector", error)).search(query, HASTY)
    assert answer.degraded
    assert answer.missing == ("vector",)
    assert set(answer.timings_ms) == {"text", "title"}
    assert answer.results
    assert all("vector" not in result.scores for result in answer.results)


async def test_only_all_legs_failing_is_an_error(world, threads):
    failing = [Failing(name, UnavailableError("away")) for name in ("text", "vector")]
    service = service_over(world.index, failing, threads)
    with pytest.raises(UnavailableError, match="text, vector"):
        await service.search(SearchQuery(text="ghost", where=EVERYTHING, page=1, page_size=20), PATIENT)


class Slow:
    """A leg that answers as another one, later."""

    def __init__(self, leg: TextLeg) -> None:
        self.leg, self.name = leg, leg.name

    async def find(self, query: QueryText, where: SearchFilter) -> TextAnswer:
        await asyncio.sleep(0.2)
        return await self.leg.find(query, where)


async def test_a_late_answer_is_better_than_none(world, threads):
    hurried = Variant(leg_timeouts_ms=LegTimeouts(text=20, title=20, vector=20))
    slow = Slow(TextLeg(world.index, threads))
    service = service_over(world.index, [slow, Failing("vector", None)], threads)
    answer = await service.search(SearchQuery(text="ghost", where=EVERYTHING, page=1, page_size=20), hurried)
    assert answer.results
    assert answer.missing == ("vector",)


async def test_a_vector_of_a_film_that_is_gone_is_no_result(world):
    gone = FILMS[0].id
    world.index.apply([], [gone])
    world.index.commit()
    found = (await world.leg.find(analyse(FILMS[0].overview or ""), EVERYTHING)).candidates
    world.index.apply(await world.catalogue.contents([gone]))
    world.index.commit()
    assert found
    assert gone not in {one.content_id for one in found}
