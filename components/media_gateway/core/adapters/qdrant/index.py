"""The `VectorIndex` over a Qdrant collection. Bootstrap makes one for each process.

The collection's one vector is named after the model, so the server itself refuses vectors of another model or
dimension, also from writers that are not ours.
"""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import numpy as np
from qdrant_client import AsyncQdrantClient, models

from media_gateway.core.adapters.qdrant.connection import Address, translated
from media_gateway.core.domain.vectors import (
    COLLECTION,
    EMBEDDING_DIMENSION,
    EMBEDDING_MODEL,
    Vector,
    VectorFilter,
    VectorHit,
    VectorPayload,
    VectorPoint,
    check_batch,
    check_top_k,
    unit_vector,
)
from media_gateway.core.errors import ConflictError, MediaGatewayError, NotFoundError, UnavailableError

PAYLOAD_INDEXES = {
    "genres": models.PayloadSchemaType.KEYWORD,
    "platforms": models.PayloadSchemaType.KEYWORD,
    "content_type": models.PayloadSchemaType.KEYWORD,
    "release_year": models.PayloadSchemaType.INTEGER,
}
"""Fields that filters ask for."""

MIN_EF = 128
"""Least candidates of an HNSW search (``hnsw_ef``), the server's default for building; never fewer than the hits."""

IDS_PER_CALL = 500
"""Most ids of one fetch: their vectors (1.5 kB each) stay well below gRPC's 4 MB message limit."""

Connect = Callable[[], AsyncQdrantClient]


class QdrantIndex:
    """Vectors in a Qdrant server.

    Parameters
    ----------
    url
        ``qdrant://host:6334`` (gRPC), ``qdrant+http://host:6333`` (REST), ``qdrants…`` the same with TLS;
        an API key as password, options ``timeout_ms`` and ``pool_size`` as query.
    model, dimension
        Of the vectors kept.
    collection
        Its name; tests on a shared server use their own.
    connect
        Makes the client instead of ``url``'s address.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = EMBEDDING_MODEL,
        dimension: int = EMBEDDING_DIMENSION,
        collection: str = COLLECTION,
        connect: Connect | None = None,
    ) -> None:
        address = Address.parse(url)
        self._timeout_ms = address.timeout_ms
        self._connect = connect or address.connect
        self._model = model
        self._dimension = dimension
        self._collection = collection
        # The server makes file names of it.
        self._vector = re.sub(r"[^A-Za-z0-9._-]", "_", model)
        self._client: AsyncQdrantClient | None = None
        self._ensured = False
        self._closed = False

    async def ensure(self) -> None:
        """Make the collection and its payload indexes if absent; safe to call from many processes at once.

        Raises
        ------
        ConflictError
            The collection holds vectors of another model or dimension.
        """
        async with self._call() as client:
            exists = await client.collection_exists(self._collection)
        if not exists:
            await self._create()
        async with self._call() as client:
            info = await client.get_collection(self._collection)
        self._check_model(info.config.params.vectors)
        for field, kind in PAYLOAD_INDEXES.items():
            if field not in (info.payload_schema or {}):
                async with self._call() as client:
                    await client.create_payload_index(self._collection, field, field_schema=kind, wait=True)
        self._ensured = True

    async def upsert_batch(self, points: Sequence[VectorPoint]) -> None:
        """Store points, replacing those with the same content id, in one operation of the server."""
        batch = check_batch(points, dimension=self._dimension)
        async with self._collection_call() as client:
            if batch:
                await client.upsert(self._collection, [self._to_point(point) for point in batch], wait=True)

    async def delete(self, content_ids: Sequence[UUID]) -> None:
        """Remove points; unknown ids are no error."""
        ids: list[int | str | UUID] = [str(content_id) for content_id in content_ids]
        async with self._collection_call() as client:
            if ids:
                await client.delete(self._collection, models.PointIdsList(points=ids), wait=True)

    async def search(
        self, vector: Vector, *, top_k: int, where: VectorFilter | None = None, with_payload: bool = True
    ) -> list[VectorHit]:
        """The ``top_k`` (1 to 1000) most similar points that pass the filter, best first."""
        check_top_k(top_k)
        query = unit_vector(vector, dimension=self._dimension)
        async with self._collection_call() as client:
            found = await client.query_points(
                self._collection,
                query=query.tolist(),
                using=self._vector,
                query_filter=_to_filter(where or VectorFilter()),
                search_params=models.SearchParams(hnsw_ef=max(MIN_EF, top_k)),
                limit=top_k,
                with_payload=with_payload,
            )
        return [
            VectorHit(
                UUID(str(hit.id)), float(hit.score), _to_payload(hit.payload or {}) if with_payload else None
            )
            for hit in found.points
        ]

    async def fetch(self, content_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Stored vectors of those ids that exist."""
        ids = [str(content_id) for content_id in dict.fromkeys(content_ids)]
        vectors: dict[UUID, Vector] = {}
        for start in range(0, len(ids), IDS_PER_CALL):
            async with self._collection_call() as client:
                records = await client.retrieve(
                    self._collection,
                    ids[start : start + IDS_PER_CALL],
                    with_payload=False,
                    with_vectors=[self._vector],
                )
            for record in records:
                assert isinstance(record.vector, dict)
                vectors[UUID(str(record.id))] = np.array(record.vector[self._vector], np.float32)
        return vectors

    async def count(self) -> int:
        """Number of stored points."""
        async with self._collection_call() as client:
            return (await client.count(self._collection, exact=True)).count

    async def ping(self) -> None:
        """Return if the server answers."""
        async with self._call() as client:
            await client.get_collections()

    async def close(self) -> None:
        """Close the connections; further calls raise `UnavailableError`."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _create(self) -> None:
        params = {self._vector: models.VectorParams(size=self._dimension, distance=models.Distance.COSINE)}
        try:
            async with self._call() as client:
                await client.create_collection(self._collection, vectors_config=params)
        except MediaGatewayError:
            # Another process may have been faster; each server version says so in another way.
            async with self._call() as client:
                if not await client.collection_exists(self._collection):
                    raise

    def _check_model(self, vectors: Any) -> None:
        held = vectors if isinstance(vectors, dict) else {"(unnamed)": vectors}
        expected = held.get(self._vector)
        right = (
            len(held) == 1
            and expected is not None
            and expected.size == self._dimension
            and expected.distance == models.Distance.COSINE
        )
        if not right:
            found = ", ".join(
                f"{name} ({getattr(params, 'size', '?')} dimensions)" for name, params in held.items()
            )
            raise ConflictError(
                f"the collection {self._collection} holds vectors of {found}, not of {self._model} "
                f"({self._dimension} dimensions, cosine); models are never mixed: drop it and ingest again"
            )

    def _to_point(self, point: VectorPoint) -> models.PointStruct:
        payload = point.payload
        return models.PointStruct(
            id=str(point.content_id),
            vector={self._vector: point.vector.tolist()},
            payload={
                "content_id": str(point.content_id),
                "title": payload.title,
                "content_type": payload.content_type,
                "genres": list(payload.genres),
                "platforms": list(payload.platforms),
                "release_year": payload.release_year,
                "embedding_model": self._model,
            },
        )

    @asynccontextmanager
    async def _collection_call(self) -> AsyncIterator[AsyncQdrantClient]:
        """A call to the collection, made before the first one."""
        if not self._ensured:
            await self.ensure()
        try:
            async with self._call() as client:
                yield client
        except NotFoundError as error:
            # Someone dropped the collection; the next call makes it again.
            self._ensured = False
            raise UnavailableError("the vector collection is gone") from error

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[AsyncQdrantClient]:
        if self._closed:
            raise UnavailableError("the vector index is closed")
        if self._client is None:
            self._client = self._connect()
        async with translated(self._timeout_ms):
            yield self._client


def _to_filter(where: VectorFilter) -> models.Filter | None:
    must: list[models.Condition] = []
    must_not: list[models.Condition] = []
    for field, wanted in (
        ("genres", where.genres_any),
        ("platforms", where.platforms_any),
        ("content_type", where.content_types),
    ):
        if wanted:
            must.append(models.FieldCondition(key=field, match=models.MatchAny(any=list(wanted))))
    if where.year_from is not None or where.year_to is not None:
        years = models.Range(gte=where.year_from, lte=where.year_to)
        must.append(models.FieldCondition(key="release_year", range=years))
    if where.content_ids:
        must.append(models.HasIdCondition(has_id=[str(one) for one in where.content_ids]))
    if where.genres_none:
        unwanted = models.MatchAny(any=list(where.genres_none))
        must_not.append(models.FieldCondition(key="genres", match=unwanted))
    if where.exclude_ids:
        must_not.append(models.HasIdCondition(has_id=[str(one) for one in where.exclude_ids]))
    if not must and not must_not:
        return None
    return models.Filter(must=must or None, must_not=must_not or None)


def _to_payload(stored: dict[str, Any]) -> VectorPayload:
    return VectorPayload(
        title=stored.get("title", ""),
        content_type=stored.get("content_type", ""),
        genres=tuple(stored.get("genres") or ()),
        platforms=tuple(stored.get("platforms") or ()),
        release_year=stored.get("release_year"),
    )
