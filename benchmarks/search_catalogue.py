"""The catalogue that search is measured on, by the same way in as any: mapped, written, embedded. Used by ``search.py``.

Embedding tens of thousands of films takes minutes. Vectors are therefore kept in the state folder's cache, each under a
digest of the text it was made of, and made only once for a text.
"""

import asyncio
import gzip
import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.bootstrap import open_backends
from media_gateway.core.domain.content import ContentType, Credit, CreditRole, Genre, SourceRecord
from media_gateway.core.domain.specs import IngestionJobSpec
from media_gateway.core.settings import CoreSettings
from media_gateway.ingestion.mapping import Mapper
from media_gateway.ingestion.services.catalogue import CatalogueWriter, RunContext
from media_gateway.ingestion.services.vectors import VectorWriter
from media_gateway.ingestion.sources.demo import DemoFilms
from media_gateway.ingestion.sources.items import RawRecord
from media_gateway.ingestion.store_vectors import VECTORS

SPEC = IngestionJobSpec.model_validate({"source": {"type": "Demo", "name": "demo", "demo": {}}})
SOURCE = "bench"
RECORDS_AT_ONCE = 500
LIMIT_S = 3_600.0
DIGEST_BYTES = 16


async def _demo_records(cache_path: Path) -> list[SourceRecord]:
    mapper = Mapper(SPEC)
    source = DemoFilms(SPEC.source, cache_path)
    return [mapper.map(item.payload) async for item in source.read(None, None) if isinstance(item, RawRecord)]


def file_records(path: Path) -> list[SourceRecord]:
    """Films of a file with an object a line (``.gz`` or plain): title, year, cast, genres, extract."""
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    known = set(Genre)
    records = []
    for number, line in enumerate(body.decode().splitlines()):
        film = json.loads(line)
        genres = [genre.lower().replace(" ", "_").replace("-", "_") for genre in film.get("genres") or ()]
        records.append(
            SourceRecord(
                source=SOURCE,
                source_id=str(number),
                content_type=ContentType.MOVIE,
                title=film["title"],
                overview=film.get("extract"),
                release_year=film.get("year"),
                genres=tuple(Genre(genre) for genre in dict.fromkeys(genres) if genre in known),
                keywords=tuple(genre.replace("_", " ") for genre in genres if genre not in known),
                credits=tuple(
                    Credit(name=name, role=CreditRole.ACTOR, position=place)
                    for place, name in enumerate(film.get("cast") or ())
                ),
            )
        )
    return records


class RememberingEmbedder:
    """Embeds texts that it has not embedded before, in this process or an earlier one.

    Parameters
    ----------
    kept
        File of vectors in half precision, as the vector store keeps them, by digests of their texts.
    """

    def __init__(self, embedder: MiniLMEmbedder, kept: Path) -> None:
        self._embedder = embedder
        self._kept = kept
        self._vectors: dict[bytes, NDArray[np.float16]] = {}
        if kept.exists():
            with np.load(kept) as stored:
                digests = stored["digests"].tobytes()
                self._vectors = {
                    digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]: vector
                    for row, vector in enumerate(stored["vectors"])
                }
        self.made = 0

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._embedder.model

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._embedder.dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `MiniLMEmbedder.embed`, to half precision."""
        digests = [blake2b(text.encode(), digest_size=DIGEST_BYTES).digest() for text in texts]
        new = [place for place, digest in enumerate(digests) if digest not in self._vectors]
        made = await self._embedder.embed([texts[place] for place in new])
        self.made += len(new)
        for place, vector in zip(new, made, strict=True):
            self._vectors[digests[place]] = vector.astype(np.float16)
        return np.array([self._vectors[digest] for digest in digests], np.float32)

    async def ping(self) -> None:
        """As `MiniLMEmbedder.ping`."""
        await self._embedder.ping()

    async def close(self) -> None:
        """Keep what was made, and close the embedder."""
        if self.made:
            digests = np.frombuffer(b"".join(self._vectors), np.uint8).reshape(-1, DIGEST_BYTES)
            draft = self._kept.with_suffix(".new.npz")
            np.savez(draft, digests=digests, vectors=np.array(list(self._vectors.values())))
            draft.rename(self._kept)
        await self._embedder.close()


async def load(settings: CoreSettings, records: Sequence[SourceRecord], kept: Path) -> None:
    """Write records into an empty, migrated database and make their vectors."""
    embedder = RememberingEmbedder(MiniLMEmbedder(settings.models_path), kept)
    async with open_backends(settings, {"database", "vectors"}) as backends:
        writer = CatalogueWriter(backends.database, backends.vectors)
        # Nobody follows the catalogue yet: discovery reads all of it when it starts.
        run = RunContext(run_id=uuid4(), source=records[0].source, told=frozenset({VECTORS}))
        for start in range(0, len(records), RECORDS_AT_ONCE):
            report = await writer.write(records[start : start + RECORDS_AT_ONCE], run=run)
            if report.rejected:
                raise SystemExit(f"the catalogue can't take a record: {report.rejected[0]}")
        vectors = VectorWriter(backends.database, backends.vectors, embedder)
        try:
            if not await vectors.relay().drain(timeout_s=LIMIT_S):
                raise SystemExit("the vectors were not made in time")
        finally:
            await embedder.close()
        async with backends.database.transaction(timeout_ms=600_000) as connection:
            await connection.exec_driver_sql("ANALYZE")


def records_of(catalogue: Path | None, cache_path: Path) -> list[SourceRecord]:
    """The records of a file, or the films of `media-gateway up`."""
    cache_path.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_demo_records(cache_path)) if catalogue is None else file_records(catalogue)
