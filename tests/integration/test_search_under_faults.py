"""What people get while Redis, Postgres, the vector store or the embedder is away or hangs, all of them searching meanwhile.

Discovery with its own servers, so that each can be killed and stopped. Vectors lie in the same Postgres, or in one of
their own.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import REGISTRY

from media_gateway.core import bootstrap
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.embedded.server import EmbeddedServer
from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.domain.vectors import VectorPayload, VectorPoint
from media_gateway.core.migrations import migrate
from media_gateway.discovery.generation import KEY as GENERATION
from tests.support.discovery import Discovery, running_discovery
from tests.support.films import Film, remove, save
from tests.support.ingestion import WordEmbedder
from tests.support.own_servers import killed, paused
from tests.support.search_admin import Admin
from tests.support.search_load import SearchLoad, Seen, told
from tests.support.servers import run_here
from tests.support.stub_embedder import StubEmbedder, stub_embedder
from tests.support.waiting import eventually

DEADLINE_MS = 30_000
VARIANT = "patient"
LEG_TIMEOUTS_MS = {"text": 5_000, "title": 5_000, "vector": 1_500}
"""Above the usual 300 ms: this machine is shared, and what is late because of that must not pass for the fault."""

FIRST = ("Amber", "Broken", "Crooked", "Distant", "Empty", "Faithful", "Golden", "Hidden", "Iron", "Jagged")
SECOND = (
    "Anchor",
    "Bridge",
    "Castle",
    "Desert",
    "Engine",
    "Forest",
    "Garden",
    "Harbour",
    "Island",
    "Journey",
)
WORDS = (
    "ship",
    "robot",
    "ghost",
    "river",
    "heist",
    "wedding",
    "train",
    "doctor",
    "twin",
    "storm",
    "letter",
    "mine",
)
GENRES = ("drama", "comedy", "horror", "western")
_RNG = random.Random(5)
FILMS = [
    Film(
        title=f"{first} {second}",
        overview=f"A story of {' '.join(_RNG.sample(WORDS, 5))} at the harbour.",
        genres=(_RNG.choice(GENRES),),
        popularity_score=_RNG.random(),
    )
    for first in FIRST
    for second in SECOND
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Servers:
    """Those of this module: a Postgres, a second one for vectors alone, and a Redis."""

    postgres: EmbeddedPostgres
    vectors: EmbeddedPostgres
    redis: EmbeddedRedis


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[Servers]:
    """Started once, as that takes seconds; whoever stops one starts it again."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    servers = Servers(
        # Durable, for a removal that was committed must outlast a kill.
        EmbeddedPostgres(one),
        EmbeddedPostgres(two, durable=False),
        EmbeddedRedis(one, durable=False),
    )

    async def start() -> None:
        await asyncio.gather(servers.postgres.start(), servers.vectors.start(), servers.redis.start())
        await migrate(servers.postgres.url)
        await fill(servers)

    async def stop() -> None:
        await asyncio.gather(servers.postgres.stop(), servers.vectors.stop(), servers.redis.stop())

    try:
        run_here(start())
        yield servers
    finally:
        run_here(stop())


async def fill(servers: Servers) -> None:
    words = WordEmbedder()
    embedded = await words.embed([film.overview or "" for film in FILMS])
    points = [
        VectorPoint(
            film.id, vector, VectorPayload(title=film.title, content_type="movie", genres=film.genres)
        )
        for film, vector in zip(FILMS, embedded, strict=True)
    ]
    for server in (servers.postgres, servers.vectors):
        database = Database(server.url)
        await PgvectorIndex(database).upsert_batch(points)
        await database.close()
    database = Database(servers.postgres.url)
    await save(database, *FILMS, announce=False)
    await database.close()


class Place:
    """Discovery with the servers of its own, and people who search."""

    def __init__(self, servers: Servers, embedder: StubEmbedder, discovery: Discovery) -> None:
        self.postgres, self.vectors, self.redis = servers.postgres, servers.vectors, servers.redis
        self.embedder, self.discovery = embedder, discovery
        self.load = SearchLoad(discovery, FILMS, variant=VARIANT, deadline_ms=DEADLINE_MS)

    @asynccontextmanager
    async def searching(self) -> AsyncIterator[SearchLoad]:
        """The load, once all is well; afterwards nothing of it may be left running."""
        async with self.load.running():
            await self.load.until(lambda one: one.full and one.cache != "BYPASS")
            self.load.taken()
            tasks = len(asyncio.all_tasks())
            yield self.load
        # An embedding that nobody waits for any more goes on for its own time limit, half a minute.
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks, timeout_s=45)


TOGETHER, APART = "vectors in the same Postgres", "vectors apart"


@pytest.fixture
async def place(request, servers: Servers, monkeypatch) -> AsyncIterator[Place]:
    apart = Database(servers.vectors.url)
    if getattr(request, "param", TOGETHER) == APART:
        # No setting leads to a second Postgres, and a Qdrant server can't be had for tests.
        monkeypatch.setattr(bootstrap, "_open_vectors", lambda settings, database: PgvectorIndex(apart))
    async with opened(servers) as place:
        yield place
    await apart.close()


@asynccontextmanager
async def opened(servers: Servers) -> AsyncIterator[Place]:
    redis = RedisHandle(servers.redis.url)
    await redis.client.flushall()
    await redis.close()
    async with (
        stub_embedder() as embedder,
        running_discovery(
            servers.postgres.url,
            servers.redis.url,
            embedder_url=embedder.url,
            request_timeout_ms=DEADLINE_MS,
            index_batch_ms=1,
        ) as discovery,
    ):
        await discovery.built()
        answer = await Admin(discovery).put_variant(VARIANT, {"leg_timeouts_ms": LEG_TIMEOUTS_MS})
        assert answer.status in {200, 201}, answer
        yield Place(servers, embedder, discovery)


Fault = Callable[[EmbeddedServer], Any]


@asynccontextmanager
async def away(server: EmbeddedServer) -> AsyncIterator[None]:
    """Killed, and started again at the end."""
    await killed(server)
    try:
        yield
    finally:
        await server.start()


@asynccontextmanager
async def hanging(server: EmbeddedServer) -> AsyncIterator[None]:
    with paused(server):
        yield


FAULTS = pytest.mark.parametrize("fault", [away, hanging])


def without_vectors(one: Seen) -> bool:
    return one.degraded and one.missing == ("vector",)


def measured(when: str, what: SearchLoad | str) -> None:
    """Tell what people got (``pytest -rP`` shows it): the figures of docs/search.md."""
    told_of = what if isinstance(what, str) else told(what.taken())
    logging.getLogger(__name__).warning("measured %s: %s", when, told_of)


async def full_again(load: SearchLoad) -> None:
    """Wait until all is well again, and tell how long that took."""
    started = time.monotonic()
    await load.until(lambda one: one.full, count=20)
    measured("until twenty were full again", f"{time.monotonic() - started:.1f} s")
    measured("after", load)


def refused(upstream: str) -> float:
    return REGISTRY.get_sample_value("mgw_circuit_refused_total", {"upstream": upstream}) or 0.0


def searched() -> float:
    counts = (
        REGISTRY.get_sample_value("mgw_search_duration_seconds_count", {"degraded": degraded})
        for degraded in ("true", "false")
    )
    return sum(count or 0.0 for count in counts)


@FAULTS
async def test_without_redis_searches_are_full_and_uncached(place, fault):
    async with place.searching() as load:
        async with fault(place.redis):
            await load.until(lambda one: one.full and one.cache == "BYPASS", count=100)
            measured("during", load)
        await load.until(lambda one: one.full and one.cache == "MISS")
        await load.until(lambda one: one.cache == "HIT", ["known"], count=5)
        measured("after", load)


async def page_of_a_film(discovery: Discovery) -> str:
    """What becomes of a request that needs what is away, from a caller who waits for a second."""
    started = time.monotonic()
    path, headers = f"/api/v1/content/{FILMS[0].id}", {"X-Request-Deadline-Ms": "1000"}
    status, problem = await discovery.get(path, headers=headers)
    took_s = time.monotonic() - started
    assert (status, problem["retryable"]) in {(503, True), (504, True)}, problem
    assert took_s < DEADLINE_MS / 1000
    return f"{status} after {took_s * 1000:.0f} ms"


@FAULTS
@pytest.mark.parametrize("place", [TOGETHER, APART], indirect=True)
async def test_without_postgres_all_is_found_but_what_vectors_in_it_would_find(request, place, fault):
    apart = request.node.callspec.params["place"] == APART
    async with place.searching() as load:
        async with fault(place.postgres):
            await load.until((lambda one: one.full) if apart else without_vectors, count=100)
            measured("during", load)
            measured("content page", await page_of_a_film(place.discovery))
        await full_again(load)


@FAULTS
@pytest.mark.parametrize("place", [APART], indirect=True)
async def test_a_vector_store_that_is_away_is_missed_and_soon_left_alone(place, fault):
    before = refused("vector search")
    async with place.searching() as load:
        async with fault(place.vectors):
            await load.until(without_vectors, count=100)
            await eventually(lambda: refused("vector search") > before)
            measured("during", load)
            await load.until(without_vectors, count=100)
            measured("left alone", load)
            # By what films share; their nearness in meaning is what is missing.
            status, answer = await place.discovery.get(f"/api/v1/content/{FILMS[0].id}/similar")
            assert status == 200, answer
            assert answer["results"]
        await full_again(load)


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_without_the_embedder_what_was_never_embedded_is_searched_by_words(place, fault):
    before = refused("query embedding")
    async with place.searching() as load:
        with place.embedder.faulty(fault):
            await load.until(without_vectors, ["description", "filtered"], count=60)
            await eventually(lambda: refused("query embedding") > before)
            measured("during", load)
        await full_again(load)


@pytest.mark.parametrize("stopped", ["redis", "postgres"])
async def test_what_was_removed_stays_away_once_it_has_gone(place, stopped):
    server = getattr(place, stopped)
    database = Database(place.postgres.url)
    async with place.searching() as load:
        await load.until(lambda one: one.cache == "HIT", ["known"], count=5)
        # One of those that the kept answer holds.
        goes = next(film for film in FILMS if film.id in load.last("known").ids)
        load.may_miss(goes.id)
        try:
            if stopped == "redis":
                async with away(server):
                    await remove(database, goes.id)
            else:
                await remove(database, goes.id)
                async with away(server):
                    pass

            async def gone() -> bool:
                return goes.title not in await place.discovery.titles(goes.title, page_size=100, explain=True)

            await eventually(gone, timeout_s=30)
            load.forbid(goes.id)
            await load.until(lambda one: one.full and one.cache == "MISS")
            await load.until(lambda one: one.cache == "HIT", ["known"], count=20)
        finally:
            await save(database, goes)
            await database.close()


async def test_an_answer_that_misses_something_is_kept_for_a_minute_at_most(place):
    redis = RedisHandle(place.redis.url)

    async def lives_ms() -> list[int]:
        keys = [key async for key in redis.client.scan_iter("search:*") if key != GENERATION.encode()]
        return [await redis.client.pttl(key) for key in keys]

    with place.embedder.faulty("fails"):
        await redis.client.flushdb()
        answer = await place.discovery.search("a story nobody has asked for")
        assert answer["degraded"]
        (life_ms,) = await eventually(lives_ms)
        assert 0 < life_ms <= 60_000
    await redis.client.flushdb()

    async def full() -> bool:
        return not (await place.discovery.search(f"a story told at {time.monotonic()}"))["degraded"]

    await eventually(full, timeout_s=20)

    async def longer() -> bool:
        return max(await lives_ms(), default=0) > 60_000

    await eventually(longer)
    await redis.close()


async def test_many_who_ask_the_same_while_nothing_works_cost_hardly_more_than_one(place):
    await place.discovery.search("warm")
    before, asked = searched(), place.embedder.asked
    with paused(place.redis), place.embedder.faulty("hangs"):
        question = "a story that everybody asks for at once"
        answers = await asyncio.gather(*(place.discovery.search(question) for _ in range(40)))
    assert all(answer["degraded"] and answer["results"] for answer in answers)
    # One, unless this machine was too busy to bring all together.
    assert 1 <= searched() - before <= 4
    # The watch asks, too.
    assert place.embedder.asked - asked <= 4
