"""What every vector store promises, on every adapter."""

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient
from sqlalchemy import make_url

from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.qdrant import QdrantIndex
from media_gateway.core.domain.vectors import VectorFilter, VectorHit, VectorPayload, VectorPoint
from media_gateway.core.errors import ConflictError, InvalidInputError, NotConfiguredError, UnavailableError
from media_gateway.core.ports.vectors import VectorIndex
from tests.support.servers import execute

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]

DIMENSION = 64
SERVER_URL = os.environ.get("MEDIA_GATEWAY_TEST_QDRANT_URL")

STORES: list[Any] = ["pgvector", "qdrant-local"]
if SERVER_URL:
    STORES.append(pytest.param("qdrant-server", marks=pytest.mark.backends))

MakeIndex = Callable[..., VectorIndex]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def postgres(request: pytest.FixtureRequest, store: str) -> Database | None:
    """The database, only where it is the store."""
    return request.getfixturevalue("database") if store == "pgvector" else None


@pytest.fixture
async def make_index(store: str, postgres: Database | None) -> AsyncIterator[MakeIndex]:
    """Makes further indexes on the same, at first empty, store."""

    def defaults(options: dict[str, Any]) -> dict[str, Any]:
        return {"model": "model-a", "dimension": DIMENSION, **options}

    if postgres is not None:
        yield lambda **options: PgvectorIndex(postgres, **defaults(options))
    elif store == "qdrant-server":
        assert SERVER_URL is not None
        url, collection = SERVER_URL, f"test_{uuid.uuid4().hex}"
        made: list[QdrantIndex] = []

        def on_server(**options: Any) -> QdrantIndex:
            made.append(QdrantIndex(url, collection=collection, **defaults(options)))
            return made[-1]

        yield on_server
        async with QdrantIndex(url)._call() as client:
            await client.delete_collection(collection)
        for index in made:
            await index.close()
    else:
        client = AsyncQdrantClient(":memory:")
        yield lambda **options: QdrantIndex("qdrant://local", connect=lambda: client, **defaults(options))
        await client.close()


@pytest.fixture
async def index(make_index: MakeIndex) -> VectorIndex:
    index = make_index()
    await index.ensure()
    return index


def content_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)


def direction(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector))


def payload_of(hit: VectorHit) -> VectorPayload:
    assert hit.payload is not None
    return hit.payload


def point(number: int, vector: np.ndarray | None = None, **payload: Any) -> VectorPoint:
    fields = {"title": f"Film {number}", "content_type": "movie", **payload}
    vector = direction(number) if vector is None else vector
    return VectorPoint(content_id(number), vector, VectorPayload(**fields))


def numbers(hits: list[VectorHit]) -> list[int]:
    return [hit.content_id.int - 1 for hit in hits]


async def test_stored_point_is_found_first_with_its_payload(index: VectorIndex) -> None:
    payload = VectorPayload(
        title="L'Été d'une \"vie\" 東京 🎬; DROP TABLE",
        content_type="series",
        genres=("drama", "science_fiction"),
        platforms=("netflix", "prime_video"),
        release_year=1999,
    )
    await index.upsert_batch([VectorPoint(content_id(7), direction(7), payload), point(8), point(9)])

    first = (await index.search(direction(7), top_k=2))[0]

    assert first.content_id == content_id(7)
    assert first.similarity == pytest.approx(1.0, abs=2e-3)
    assert first.payload == payload
    assert (await index.search(direction(7), top_k=3, with_payload=False))[0].payload is None


async def test_unknown_year_and_empty_sets_come_back_as_they_went_in(index: VectorIndex) -> None:
    await index.upsert_batch([point(1)])
    (hit,) = await index.search(direction(1), top_k=5)
    assert (payload_of(hit).genres, payload_of(hit).platforms, payload_of(hit).release_year) == ((), (), None)


async def test_hits_come_best_first_and_no_more_than_asked(index: VectorIndex) -> None:
    base, other = direction(1), direction(2)
    shares = [0.1, 0.9, 0.5, 0.7, 0.3]
    await index.upsert_batch([point(n, share * base + (1 - share) * other) for n, share in enumerate(shares)])

    hits = await index.search(base, top_k=3)

    assert numbers(hits) == [1, 3, 2]
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)


async def test_storing_again_replaces_vector_and_payload(index: VectorIndex) -> None:
    await index.upsert_batch([point(1, genres=("war",))])
    await index.upsert_batch([point(1, direction(55), genres=("comedy",), title="New title")])

    (hit,) = await index.search(direction(55), top_k=5)

    assert hit.similarity == pytest.approx(1.0, abs=2e-3)
    assert (payload_of(hit).title, payload_of(hit).genres) == ("New title", ("comedy",))
    assert await index.count() == 1


async def test_of_two_points_with_one_id_in_a_batch_the_last_counts(index: VectorIndex) -> None:
    await index.upsert_batch([point(1, title="first"), point(2), point(1, title="last")])
    (hit, *_) = await index.search(direction(1), top_k=5)
    assert payload_of(hit).title == "last"
    assert await index.count() == 2


async def test_similarity_does_not_depend_on_the_length_of_vectors(index: VectorIndex) -> None:
    await index.upsert_batch([point(1, 1000 * direction(1)), point(2, 0.001 * direction(2))])
    hits = await index.search(50 * direction(2), top_k=2)
    assert numbers(hits) == [2, 1]
    assert hits[0].similarity == pytest.approx(1.0, abs=2e-3)
    assert np.linalg.norm((await index.fetch([content_id(1)]))[content_id(1)]) == pytest.approx(1.0, abs=1e-3)


async def test_random_filters_give_what_their_conditions_say(index: VectorIndex) -> None:
    rng = random.Random(4)
    genres, platforms, types = ["drama", "war", "comedy"], ["netflix", "hulu"], ["movie", "series", "short"]
    points = [
        point(
            n,
            genres=tuple(rng.sample(genres, rng.randrange(3))),
            platforms=tuple(rng.sample(platforms, rng.randrange(3))),
            content_type=rng.choice(types),
            release_year=rng.choice([None, 1980, 1990, 2000, 2010]),
        )
        for n in range(60)
    ]
    await index.upsert_batch(points)
    ids = [p.content_id for p in points]
    for _ in range(25):
        where = VectorFilter(
            genres_any=tuple(rng.sample(genres, rng.randrange(3))),
            genres_none=tuple(rng.sample(genres, rng.choice([0, 0, 1]))),
            platforms_any=tuple(rng.sample(platforms, rng.choice([0, 0, 1, 2]))),
            content_types=tuple(rng.sample(types, rng.choice([0, 0, 1, 2]))),
            year_from=rng.choice([None, None, 1985, 2000]),
            year_to=rng.choice([None, None, 2000]),
            content_ids=tuple(rng.sample(ids, rng.choice([0, 0, 20]))),
            exclude_ids=tuple(rng.sample(ids, rng.choice([0, 20]))),
        )
        hits = await index.search(direction(1), top_k=100, where=where)
        assert sorted(numbers(hits)) == [p.content_id.int - 1 for p in points if passes(p, where)], where


def passes(point: VectorPoint, where: VectorFilter) -> bool:
    payload = point.payload
    year = payload.release_year
    wanted = [
        not where.genres_any or set(where.genres_any) & set(payload.genres),
        not set(where.genres_none) & set(payload.genres),
        not where.platforms_any or set(where.platforms_any) & set(payload.platforms),
        not where.content_types or payload.content_type in where.content_types,
        where.year_from is None or (year is not None and year >= where.year_from),
        where.year_to is None or (year is not None and year <= where.year_to),
        not where.content_ids or point.content_id in where.content_ids,
        point.content_id not in where.exclude_ids,
    ]
    return all(wanted)


@pytest.fixture
async def many(index: VectorIndex) -> np.ndarray:
    """2,000 stored vectors of 40 themes, as texts have them; every hundredth is a western, every third a drama."""
    rng = np.random.default_rng(0)
    themes = rng.normal(size=(40, DIMENSION))
    vectors = themes[rng.integers(0, 40, 2000)] + 0.8 * rng.normal(size=(2000, DIMENSION))
    vectors = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    for start in range(0, 2000, 100):
        await index.upsert_batch(
            [point(n, vectors[n], genres=genres_of(n)) for n in range(start, start + 100)]
        )
    return vectors


def genres_of(number: int) -> tuple[str, ...]:
    return ("western",) if number % 100 == 0 else ("drama",) if number % 3 == 0 else ("comedy",)


@pytest.mark.parametrize("genre", [None, "drama"])
async def test_search_finds_97_of_100_true_neighbours(
    index: VectorIndex, many: np.ndarray, genre: str | None
) -> None:
    allowed = np.array([genre is None or genre in genres_of(n) for n in range(len(many))])
    where = VectorFilter(genres_any=(genre,)) if genre else None
    found = 0
    for query in many[::100]:
        nearest = np.argsort(-np.where(allowed, many @ query, -2.0))[:50]
        hits = await index.search(query, top_k=50, where=where)
        found += len(set(numbers(hits)) & set(nearest.tolist()))
    assert found / (50 * len(many[::100])) >= 0.97


async def test_rare_matches_far_from_the_query_are_all_found(index: VectorIndex, many: np.ndarray) -> None:
    hits = await index.search(many[1], top_k=100, where=VectorFilter(genres_any=("western",)))
    assert sorted(numbers(hits)) == list(range(0, 2000, 100))


async def test_deleted_points_are_gone_and_unknown_ids_no_error(index: VectorIndex) -> None:
    await index.upsert_batch([point(n) for n in range(5)])
    await index.delete([content_id(0), content_id(3), content_id(99)])
    await index.delete([])
    assert sorted(numbers(await index.search(direction(0), top_k=10))) == [1, 2, 4]
    assert await index.count() == 3


async def test_fetch_gives_the_vectors_of_existing_ids(index: VectorIndex) -> None:
    await index.upsert_batch([point(n) for n in range(3)])
    vectors = await index.fetch([content_id(2), content_id(0), content_id(77), content_id(2)])
    assert set(vectors) == {content_id(0), content_id(2)}
    assert vectors[content_id(2)].dtype == np.float32
    np.testing.assert_allclose(vectors[content_id(2)], direction(2), atol=1e-3)
    assert await index.fetch([]) == {}


async def test_batch_of_more_than_100_points_is_refused_whole(index: VectorIndex) -> None:
    await index.upsert_batch([point(n) for n in range(100)])
    with pytest.raises(InvalidInputError, match="at most 100"):
        await index.upsert_batch([point(n + 1000) for n in range(101)])
    assert await index.count() == 100


@pytest.mark.parametrize(
    "vector",
    [
        direction(1)[:-1],
        np.append(direction(1), np.float32(0)),
        np.full(DIMENSION, np.nan, np.float32),
        np.full(DIMENSION, np.inf, np.float32),
        np.zeros(DIMENSION, np.float32),
        direction(1).reshape(1, -1),
    ],
    ids=["short", "long", "nan", "infinite", "zero", "matrix"],
)
async def test_unusable_vector_is_refused_by_name_and_nothing_stored(index: VectorIndex, vector: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await index.upsert_batch([point(1), point(2, vector)])
    assert caught.value.errors[0].field == "points.1.vector"
    with pytest.raises(InvalidInputError):
        await index.search(vector, top_k=1)
    assert await index.count() == 0


@pytest.mark.parametrize("top_k", [0, -1, 1001])
async def test_top_k_out_of_range_is_refused(index: VectorIndex, top_k: int) -> None:
    with pytest.raises(InvalidInputError, match="top_k"):
        await index.search(direction(1), top_k=top_k)


async def test_empty_store_answers_with_nothing(index: VectorIndex) -> None:
    await index.upsert_batch([])
    assert await index.search(direction(1), top_k=1000) == []
    assert await index.count() == 0


@pytest.mark.parametrize("other", [{"model": "model-b"}, {"dimension": DIMENSION * 2}])
async def test_store_of_another_model_or_dimension_is_refused(
    index: VectorIndex, make_index: MakeIndex, other: dict[str, Any]
) -> None:
    stranger = make_index(**other)
    with pytest.raises(ConflictError, match="never mixed"):
        await stranger.ensure()
    # Also without asking first: nothing of another model gets in.
    size = other.get("dimension", DIMENSION)
    with pytest.raises(ConflictError):
        await stranger.upsert_batch([point(1, np.ones(size, np.float32))])
    assert await index.count() == 0


async def test_many_may_make_the_collection_at_once(make_index: MakeIndex) -> None:
    indexes = [make_index() for _ in range(8)]
    await asyncio.gather(*(one.ensure() for one in indexes))
    await indexes[0].upsert_batch([point(1)])
    await indexes[1].ensure()
    assert [await one.count() for one in indexes] == [1] * 8


async def test_first_call_makes_the_collection(make_index: MakeIndex) -> None:
    index = make_index()
    await index.upsert_batch([point(1)])
    assert numbers(await make_index().search(direction(1), top_k=1)) == [1]


async def test_concurrent_writers_of_the_same_points_all_succeed(index: VectorIndex) -> None:
    async def write(writer: int) -> None:
        batch = [point(n, title=f"by {writer}") for n in range(40)]
        random.Random(writer).shuffle(batch)
        await index.upsert_batch(batch)

    await asyncio.gather(*(write(writer) for writer in range(6)))
    titles = {payload_of(hit).title for hit in await index.search(direction(0), top_k=100)}
    assert await index.count() == 40
    assert titles <= {f"by {writer}" for writer in range(6)}


async def test_ping_returns_on_a_living_store_and_closed_index_refuses(index: VectorIndex) -> None:
    await index.ping()
    await index.close()
    with pytest.raises(UnavailableError, match="closed"):
        await index.search(direction(1), top_k=1)
    with pytest.raises(UnavailableError, match="closed"):
        await index.ping()


async def test_qdrant_finds_its_collection_again_after_a_restart(tmp_path: Path) -> None:
    def connect() -> AsyncQdrantClient:
        return AsyncQdrantClient(path=str(tmp_path / "qdrant"))

    for expected in (1, 2):
        index = QdrantIndex("qdrant://local", dimension=DIMENSION, connect=connect)
        await index.upsert_batch([point(expected)])
        assert await index.count() == expected
        await index.close()
    stranger = QdrantIndex("qdrant://local", model="other", dimension=DIMENSION, connect=connect)
    with pytest.raises(ConflictError):
        await stranger.ensure()
    await stranger.close()


async def test_pgvector_says_who_must_act_when_the_user_may_not_create_the_extension(
    database_url: str,
) -> None:
    role = f"reader_{uuid.uuid4().hex}"
    await execute(database_url, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    await execute(database_url, f"GRANT CREATE ON SCHEMA public TO {role}")
    plain = make_url(database_url).set(username=role, password="x")
    database = Database(plain.render_as_string(hide_password=False))
    try:
        with pytest.raises(NotConfiguredError, match="CREATE EXTENSION vector"):
            await PgvectorIndex(database).ensure()
        await execute(database_url, "CREATE EXTENSION vector")
        await PgvectorIndex(database).ensure()
    finally:
        await database.close()
        await execute(database_url, f"DROP OWNED BY {role}")
        await execute(database_url, f"DROP ROLE {role}")


async def test_pgvector_without_its_server_is_unavailable(free_port: int) -> None:
    database = Database(f"postgresql://nobody@127.0.0.1:{free_port}/none")
    index = PgvectorIndex(database)
    for call in (index.ensure, index.count, index.ping):
        with pytest.raises(UnavailableError):
            await call()
    await database.close()
