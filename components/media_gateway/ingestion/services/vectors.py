"""Keeps the vector index in step with the catalogue. The outbox relay calls `VectorWriter.process_batch`.

A row of the destination ``vectors`` only says that a content changed: what to store is read from Postgres at that
moment, so rows may repeat, be coalesced, or be about a content that is gone by now.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from uuid import UUID

from prometheus_client import Counter

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.vectors import UPSERT_LIMIT, Vector, VectorPayload, VectorPoint
from media_gateway.core.errors import ConflictError, InvalidInputError, NotConfiguredError
from media_gateway.core.outbox import OutboxRelay, OutboxRow, RelayPolicy
from media_gateway.core.ports.embedder import Embedder
from media_gateway.core.ports.vectors import VectorIndex
from media_gateway.ingestion.store_vectors import VECTORS, Document, VectorStateStore

MAX_DIRECTORS = 3
MAX_ACTORS = 6
MAX_KEYWORDS = 12
"""People and keywords that go into a text: the model reads 256 tokens, and the overview is to have most of them."""

EMBEDDING_TIMEOUT_MS = 120_000
"""A hundred documents take about a second to embed, far more on a machine that is busy."""

DEFAULT_POLICY = RelayPolicy()

_points = Counter("mgw_vector_points_total", "Vectors brought up to date", ["outcome"])


def embedding_text(document: Document) -> str:
    """The text that a content's embedding is made of: title, year, genres, people, overview, keywords.

    People and keywords that the overview names are not said twice: tokens cost time and crowd out others.
    """
    overview = document.overview or ""
    year = f" ({document.release_year})" if document.release_year else ""
    parts = [f"{document.title}{year}"]
    if document.original_title and document.original_title != document.title:
        parts.append(document.original_title)
    parts.append(" ".join([*document.genres, document.content_type]).replace("_", " "))
    for lead, names, most in (
        ("Directed by ", document.directors, MAX_DIRECTORS),
        ("With ", document.actors, MAX_ACTORS),
        ("", document.keywords, MAX_KEYWORDS),
    ):
        unsaid = [name for name in names[:most] if name not in overview]
        if unsaid:
            parts.append(lead + ", ".join(unsaid))
    if overview:
        parts.append(overview.rstrip("."))
    return ". ".join(parts) + "."


def payload_of(document: Document) -> VectorPayload:
    """What filters need beside the vector."""
    return VectorPayload(
        title=document.title,
        content_type=document.content_type,
        genres=tuple(document.genres),
        platforms=tuple(document.platforms),
        release_year=document.release_year,
    )


class VectorWriter:
    """Makes vectors of contents and stores them.

    Parameters
    ----------
    database
        Where the catalogue is.
    index
        Where vectors go.
    embedder
        Makes them.
    """

    def __init__(self, database: Database, index: VectorIndex, embedder: Embedder) -> None:
        self._database = database
        self._store = VectorStateStore(database)
        self._index = index
        self._embedder = embedder
        self._is_ensured = False

    def relay(self, policy: RelayPolicy = DEFAULT_POLICY) -> OutboxRelay:
        """A relay that brings rows to this writer, as many a turn as one upsert takes."""
        policy = replace(policy, batch_size=UPSERT_LIMIT, handler_timeout_ms=EMBEDDING_TIMEOUT_MS)
        return OutboxRelay(self._database, {VECTORS: self.process_batch}, policy)

    async def backlog(self) -> int:
        """Number of changes whose vectors are still to be made."""
        return await self._store.backlog()

    async def ready(self) -> None:
        """Return if vectors can be made and stored now.

        Raises
        ------
        UnavailableError
            The model is not built, or a server is away.
        """
        await asyncio.gather(self._embedder.ping(), self._index.ping())

    async def process_batch(self, rows: Sequence[OutboxRow]) -> None:
        """Bring the vectors of changed contents up to date; several rows of one content are one piece of work.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The model is not built yet, or Postgres or the vector store is away: the rows stay and are tried again.
        NotConfiguredError
            The store holds vectors of another model; the rows stay.
        InvalidInputError
            A row or a text is broken.
        """
        try:
            ids = list(dict.fromkeys(UUID(row.key) for row in rows))
        except ValueError as error:
            raise InvalidInputError(f"not a content id: {error}") from error
        # Before anything is read: without a model there is nothing to be done.
        await self._embedder.ping()
        await self._ensure()
        for start in range(0, len(ids), UPSERT_LIMIT):
            await self._update(ids[start : start + UPSERT_LIMIT])

    async def _ensure(self) -> None:
        if self._is_ensured:
            return
        try:
            await self._index.ensure()
        except ConflictError as error:
            # The store is wrong for every row alike: none of them may be blamed for it.
            raise NotConfiguredError(error.message) from error
        self._is_ensured = True

    async def _update(self, ids: Sequence[UUID]) -> None:
        documents = await self._store.documents(ids)
        gone = [content_id for content_id in ids if content_id not in documents]
        if gone:
            await self._index.delete(gone)
            await self._store.forget(gone)
            _points.labels("deleted").inc(len(gone))
        if not documents:
            return
        texts = {content_id: embedding_text(document) for content_id, document in documents.items()}
        digests = {
            content_id: blake2b(text.encode(), digest_size=16).digest() for content_id, text in texts.items()
        }
        vectors = await self._kept(digests)
        changed = [content_id for content_id in documents if content_id not in vectors]
        if changed:
            made = await self._embedder.embed([texts[content_id] for content_id in changed])
            vectors.update(zip(changed, made, strict=True))
        await self._index.upsert_batch(
            [
                VectorPoint(content_id, vectors[content_id], payload_of(d))
                for content_id, d in documents.items()
            ]
        )
        # Written after the vector, so that a note never speaks of a vector that isn't there.
        await self._store.save_digests(
            self._embedder.model, {content_id: digests[content_id] for content_id in changed}
        )
        _points.labels("embedded").inc(len(changed))
        _points.labels("payload").inc(len(documents) - len(changed))

    async def _kept(self, digests: dict[UUID, bytes]) -> dict[UUID, Vector]:
        """Vectors that were made of the same text: a change of platforms, say, costs no embedding."""
        known = await self._store.digests(list(digests), self._embedder.model)
        same = [content_id for content_id, digest in digests.items() if known.get(content_id) == digest]
        return dict(await self._index.fetch(same)) if same else {}
