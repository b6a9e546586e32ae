"""SQL for keeping the vector index in step with the catalogue: what is embedded, and of what text a vector was made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA

from media_gateway.core.adapters.postgres import Database

VECTORS = "vectors"
"""Outbox destination of contents whose vector or payload is out of date."""


@dataclass(slots=True)
class Document:
    """What of a content goes into its embedding and the vector's payload."""

    id: UUID
    content_type: str
    title: str
    original_title: str | None
    overview: str | None
    release_year: int | None
    genres: list[str]
    keywords: list[str]
    directors: list[str] = field(default_factory=list)
    actors: list[str] = field(default_factory=list)
    platforms: list[str] = field(default_factory=list)


_IDS = sa.bindparam("ids", type_=ARRAY(sa.Uuid()))
_CONTENTS = sa.text(
    "SELECT id, content_type, title, original_title, overview, release_year, genres, keywords FROM contents "
    "WHERE id = ANY(:ids) AND removed_at IS NULL"
).bindparams(_IDS)
_CREDITS = sa.text(
    "SELECT content_id, role, name FROM credits WHERE content_id = ANY(:ids) AND role IN ('director', 'actor') "
    "ORDER BY content_id, role, position"
).bindparams(_IDS)
_PLATFORMS = sa.text(
    "SELECT DISTINCT content_id, platform FROM offerings WHERE content_id = ANY(:ids) AND ended_at IS NULL "
    "ORDER BY content_id, platform"
).bindparams(_IDS)
_DIGESTS = sa.text(
    "SELECT content_id, digest FROM content_vectors WHERE content_id = ANY(:ids) AND model = :model"
).bindparams(_IDS)
_SAVE = sa.text(
    "INSERT INTO content_vectors (content_id, model, digest) "
    "SELECT item.id, :model, item.digest FROM unnest(:ids, :digests) AS item (id, digest) "
    "ON CONFLICT (content_id) DO UPDATE SET model = excluded.model, digest = excluded.digest"
).bindparams(_IDS, sa.bindparam("model", type_=sa.Text()), sa.bindparam("digests", type_=ARRAY(BYTEA())))
_FORGET = sa.text("DELETE FROM content_vectors WHERE content_id = ANY(:ids)").bindparams(_IDS)
_BACKLOG = sa.text("SELECT count(*) FROM outbox WHERE destination = :destination")


class VectorStateStore:
    """The catalogue as the vector writer sees it.

    Parameters
    ----------
    database
        Where both are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def documents(self, ids: Sequence[UUID]) -> dict[UUID, Document]:
        """Those of the contents that exist and are not removed."""
        values = {"ids": list(ids)}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_CONTENTS, values)).all()
            found = {row.id: Document(*row) for row in rows}
            for row in await connection.execute(_CREDITS, values):
                if row.content_id in found:
                    document = found[row.content_id]
                    (document.directors if row.role == "director" else document.actors).append(row.name)
            for row in await connection.execute(_PLATFORMS, values):
                if row.content_id in found:
                    found[row.content_id].platforms.append(row.platform)
        return found

    async def digests(self, ids: Sequence[UUID], model: str) -> dict[UUID, bytes]:
        """Digests of the texts that the stored vectors of a model were made of."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_DIGESTS, {"ids": list(ids), "model": model})
            return {row.content_id: row.digest for row in rows}

    async def save_digests(self, model: str, digests: dict[UUID, bytes]) -> None:
        """Note of what text vectors were made."""
        if digests:
            values = {"model": model, "ids": list(digests), "digests": list(digests.values())}
            async with self._database.transaction() as connection:
                await connection.execute(_SAVE, values)

    async def forget(self, ids: Sequence[UUID]) -> None:
        """Drop the notes of vectors that are gone."""
        if ids:
            async with self._database.transaction() as connection:
                await connection.execute(_FORGET, {"ids": list(ids)})

    async def backlog(self) -> int:
        """Number of changes whose vectors are still to be made."""
        async with self._database.transaction() as connection:
            return int((await connection.execute(_BACKLOG, {"destination": VECTORS})).scalar_one())
