"""Manifests, source files and a small deterministic embedder for the ingestion tests."""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.specs import IngestionJob, parse_manifest
from media_gateway.core.domain.vectors import EMBEDDING_DIMENSION, EMBEDDING_MODEL
from media_gateway.core.errors import UnavailableError
from media_gateway.ingestion.runs import StoredDeadLetter
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from media_gateway.ingestion.services.runs import Runner, RunPolicy
from media_gateway.ingestion.sources import Secrets


def title_of(number: int) -> str:
    """A title of three made-up words, so that titles are as different as those of real films."""
    letters = (
        blake2b(str(number).encode(), digest_size=9)
        .hexdigest()
        .translate(str.maketrans("0123456789", "ghijklmnop"))
    )
    return f"{letters[:6]} {letters[6:12]} {letters[12:]}".title()


def film(number: int, **more: Any) -> dict[str, Any]:
    """A canonical record; numbers give different films."""
    return {
        "source_id": f"film-{number}",
        "content_type": "movie",
        "title": title_of(number),
        "release_year": 1950 + number % 70,
        "genres": ["drama"],
        "external_ids": {"imdb": f"tt{number:07d}"},
        **more,
    }


def bad_film(number: int) -> dict[str, Any]:
    """A record that the mapping refuses, for its year."""
    return film(number, release_year=99_999)


def write_ndjson(path: Path, records: Iterable[dict[str, Any] | str]) -> Path:
    """A file with one record a line; strings stand as they are."""
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def manifest(path: Path, **spec: Any) -> dict[str, Any]:
    """A file job's document."""
    return {
        "apiVersion": "mediagateway.io/v1alpha1",
        "kind": "IngestionJob",
        "metadata": {"name": "films"},
        "spec": {"source": {"type": "File", "file": {"path": str(path)}}, **spec},
    }


def file_job(path: Path, **spec: Any) -> IngestionJob:
    """A file job."""
    return parse_manifest(manifest(path, **spec))


def make_runner(database: Database, **policy: Any) -> Runner:
    """A runner without an embedding rule."""
    return Runner(
        database,
        CatalogueWriter(database),
        secrets=Secrets(environ={}),
        policy=RunPolicy(**policy) if policy else None,
    )


async def all_dead_letters(runner: Runner, run_id: UUID) -> list[StoredDeadLetter]:
    """Every dead letter of a run."""
    found: list[StoredDeadLetter] = []
    while page := await runner.store.dead_letters(run_id, after=found[-1].id if found else 0, limit=1000):
        found += page
    return found


async def scalar(database: Database, statement: str, **values: Any) -> Any:
    """One value from the database."""
    async with database.transaction() as connection:
        return (await connection.execute(sa.text(statement), values)).scalar_one()


async def column(database: Database, statement: str, **values: Any) -> list[Any]:
    """One column from the database."""
    async with database.transaction() as connection:
        return list((await connection.execute(sa.text(statement), values)).scalars())


class WordEmbedder:
    """Adds up a fixed random vector for each word: texts that share words are near. Can be switched off."""

    model = EMBEDDING_MODEL
    dimension = EMBEDDING_DIMENSION

    def __init__(self) -> None:
        self.available = True
        self.embedded: list[str] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        await self.ping()
        self.embedded += texts
        rows = [
            sum((self._word(word) for word in text.lower().split()), np.zeros(self.dimension))
            for text in texts
        ]
        matrix = np.asarray(rows, np.float32).reshape(len(texts), self.dimension)
        return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.float32)

    def _word(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(blake2b(word.strip(".,()").encode(), digest_size=4).digest())
        return np.random.default_rng(seed).standard_normal(self.dimension)

    async def ping(self) -> None:
        if not self.available:
            raise UnavailableError("the model is not built")

    async def close(self) -> None:
        pass
