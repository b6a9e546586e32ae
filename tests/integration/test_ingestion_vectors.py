"""From a source to the vector index: an ingested film is found again by similarity, on every vector store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from qdrant_client import AsyncQdrantClient

from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.qdrant import QdrantIndex
from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.core.errors import UnavailableError
from media_gateway.core.outbox import enqueue
from media_gateway.core.ports.embedder import Embedder
from media_gateway.core.ports.vectors import VectorIndex
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from media_gateway.ingestion.services.vectors import VectorWriter
from tests.contract.test_vectors import SERVER_URL, STORES
from tests.support.ingestion import WordEmbedder, column, file_job, film, make_runner, write_ndjson
from tests.support.models import models_path, weights_wheel

__all__ = ["models_path", "weights_wheel"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]

SHARK = film(
    1,
    title="The Reef",
    overview="A great white shark terrorises a beach town in summer, and three men go out to sea to hunt it.",
    genres=["horror"],
    offerings=[{"platform": "netflix", "region": "US", "availability_type": "subscription"}],
)
ROBOT = film(
    2,
    title="Steel Heart",
    overview="A lonely robot learns to love in a ruined city.",
    genres=["science_fiction"],
)
COURT = film(
    3, title="Twelve", overview="Jurors argue over a murder trial in one hot room.", genres=["drama"]
)


@pytest.fixture(params=STORES)
async def index(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[VectorIndex]:
    if request.param == "pgvector":
        yield PgvectorIndex(database)
    elif request.param == "qdrant-server":
        assert SERVER_URL is not None
        server = QdrantIndex(SERVER_URL, collection=f"test_{uuid4().hex}")
        yield server
        async with server._call() as client:
            await client.delete_collection(server._collection)
        await server.close()
    else:
        client = AsyncQdrantClient(":memory:")
        yield QdrantIndex("qdrant://local", connect=lambda: client)
        await client.close()


async def ingest(database: Database, folder: Path, records: list[dict[str, Any]]) -> None:
    runner = make_runner(database)
    job = file_job(write_ndjson(folder / "f.ndjson", records))
    result = await runner.execute((await runner.open(job, origin="cli")).id)
    assert result.error is None


async def content_of(database: Database, record: dict[str, Any]) -> UUID:
    found = await column(
        database, "SELECT content_id FROM source_records WHERE source_id = :id", id=record["source_id"]
    )
    return UUID(str(found[0]))


async def nearest(
    index: VectorIndex, embedder: Embedder, text: str, where: VectorFilter | None = None
) -> list[UUID]:
    vector = (await embedder.embed([text]))[0]
    return [hit.content_id for hit in await index.search(vector, top_k=3, where=where)]


async def test_ingested_film_is_found_again_by_similarity(
    database: Database, index: VectorIndex, tmp_path: Path
):
    embedder = WordEmbedder()
    await ingest(database, tmp_path, [SHARK, ROBOT, COURT])
    assert await VectorWriter(database, index, embedder).relay().drain(timeout_s=30)

    shark = await content_of(database, SHARK)
    assert (await nearest(index, embedder, "white shark beach"))[0] == shark
    on_netflix = VectorFilter(platforms_any=("netflix",), genres_any=("horror",), content_types=("movie",))
    assert await nearest(index, embedder, "robot city", on_netflix) == [shark]
    hit = (await index.search((await embedder.embed(["shark"]))[0], top_k=1))[0]
    payload = hit.payload
    assert payload is not None
    assert (payload.title, payload.platforms, payload.release_year) == ("The Reef", ("netflix",), 1951)


@pytest.mark.models
async def test_ingested_film_is_found_again_by_meaning(
    database: Database, index: VectorIndex, tmp_path: Path, models_path: Path
):
    embedder = MiniLMEmbedder(models_path)
    await ingest(database, tmp_path, [SHARK, ROBOT, COURT])
    assert await VectorWriter(database, index, embedder).relay().drain(timeout_s=60)

    assert (await nearest(index, embedder, "dangerous animal attacks swimmers"))[0] == await content_of(
        database, SHARK
    )
    assert (await nearest(index, embedder, "machines with feelings"))[0] == await content_of(database, ROBOT)
    assert (await nearest(index, embedder, "lawyers and justice"))[0] == await content_of(database, COURT)
    await embedder.close()


async def test_new_platform_changes_the_payload_and_embeds_nothing(
    database: Database, index: VectorIndex, tmp_path: Path
):
    embedder = WordEmbedder()
    writer = VectorWriter(database, index, embedder)
    await ingest(database, tmp_path, [SHARK, ROBOT])
    assert await writer.relay().drain(timeout_s=30)
    assert len(embedder.embedded) == 2
    offering = {"platform": "hulu", "region": "US", "availability_type": "subscription"}

    await ingest(database, tmp_path, [SHARK, {**ROBOT, "offerings": [offering]}])
    assert await writer.backlog() == 1
    assert await writer.relay().drain(timeout_s=30)

    robot = await content_of(database, ROBOT)
    assert len(embedder.embedded) == 2
    assert await nearest(index, embedder, "anything", VectorFilter(platforms_any=("hulu",))) == [robot]


async def test_changed_text_is_embedded_again(database: Database, index: VectorIndex, tmp_path: Path):
    embedder = WordEmbedder()
    writer = VectorWriter(database, index, embedder)
    await ingest(database, tmp_path, [SHARK, ROBOT])
    assert await writer.relay().drain(timeout_s=30)

    await ingest(database, tmp_path, [SHARK, {**ROBOT, "overview": "Penguins cross the ice."}])
    assert await writer.relay().drain(timeout_s=30)

    assert len(embedder.embedded) == 3
    assert (await nearest(index, embedder, "penguins ice"))[0] == await content_of(database, ROBOT)


async def test_removed_and_merged_contents_lose_their_vectors(
    database: Database, index: VectorIndex, tmp_path: Path
):
    writer = VectorWriter(database, index, WordEmbedder())
    await ingest(database, tmp_path, [SHARK, ROBOT, COURT])
    assert await writer.relay().drain(timeout_s=30)
    shark, robot, court = [await content_of(database, record) for record in (SHARK, ROBOT, COURT)]
    catalogue = CatalogueWriter(database)

    await catalogue.remove(shark)
    await catalogue.merge(robot, [court])
    assert await writer.relay().drain(timeout_s=30)

    assert set(await index.fetch([shark, robot, court])) == {robot}


async def test_rows_of_one_content_are_one_piece_of_work_and_broken_rows_stop_nobody(
    database: Database, index: VectorIndex, tmp_path: Path
):
    embedder = WordEmbedder()
    await ingest(database, tmp_path, [SHARK])
    shark = str(await content_of(database, SHARK))
    async with database.transaction() as connection:
        await enqueue(connection, "vectors", [("no id", b"{}"), *[(shark, b"{}")] * 50])

    assert await VectorWriter(database, index, embedder).relay().drain(timeout_s=30)

    assert len(embedder.embedded) == 1
    assert await column(database, "SELECT key FROM outbox_rejected") == ["no id"]


async def test_without_a_model_rows_stay(database: Database, index: VectorIndex, tmp_path: Path):
    embedder = WordEmbedder()
    embedder.available = False
    writer = VectorWriter(database, index, embedder)
    await ingest(database, tmp_path, [SHARK])

    with pytest.raises(UnavailableError):
        await writer.ready()
    assert not await writer.relay().drain(timeout_s=0.5)
    assert await writer.backlog() == 1
