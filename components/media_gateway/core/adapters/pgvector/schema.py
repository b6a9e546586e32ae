"""The tables of the vector store and how they come to be."""

import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.domain.vectors import COLLECTION
from media_gateway.core.errors import ConflictError, NotConfiguredError

LOCK_KEY = 7_304_155_264_217_021_107
"""Advisory lock of `ensure`: ``CREATE … IF NOT EXISTS`` alone fails when two sessions run it at once. Any number that
nobody else uses would do."""

MIN_PGVECTOR = (0, 8)
"""First version with iterative index scans, which filtered searches need."""

MAX_DIMENSION = 4000
"""Most dimensions pgvector's HNSW index takes as halfvec."""

INSUFFICIENT_PRIVILEGE = "42501"
"""SQLSTATE: pgvector is no trusted extension everywhere, so an ordinary user may be refused."""

HNSW_M = 16
HNSW_EF_CONSTRUCTION = 128
"""Links and candidates while building. Twice pgvector's default of candidates takes half as long again to build and
halves the neighbours that searches miss (measured over 17,000 film texts)."""

COLLECTIONS = "vector_collections"
"""One row a collection: which model its vectors are of."""


async def ensure(connection: AsyncConnection, *, model: str, dimension: int) -> None:
    """Make extension, table and indexes in one transaction, unless they are there.

    Raises
    ------
    ConflictError
        The collection is of another model or dimension.
    NotConfiguredError
        The server has no pgvector, or an old one, or the dimension is too large for it.
    """
    if not 1 <= dimension <= MAX_DIMENSION:
        raise NotConfiguredError(
            f"pgvector takes up to {MAX_DIMENSION} dimensions, the model has {dimension}"
        )
    await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    stored = await _stored(connection)
    if stored is None:
        await _create(connection, model=model, dimension=dimension)
    elif stored != (model, dimension):
        raise ConflictError(
            f"the collection {COLLECTION} holds vectors of {stored[0]} ({stored[1]} dimensions), not of {model} "
            f"({dimension}); models are never mixed: use another database, or drop its tables and ingest again"
        )


async def _stored(connection: AsyncConnection) -> tuple[str, int] | None:
    """Model and dimension of the collection; its row is written last, so if it is there, everything is."""
    exists = await connection.scalar(sa.text("SELECT to_regclass(:name) IS NOT NULL"), {"name": COLLECTIONS})
    if not exists:
        return None
    found = await connection.execute(
        sa.text(f"SELECT model, dimension FROM {COLLECTIONS} WHERE name = :name"),  # noqa: S608 - constant
        {"name": COLLECTION},
    )
    row = found.one_or_none()
    return None if row is None else (row.model, row.dimension)


async def _create(connection: AsyncConnection, *, model: str, dimension: int) -> None:
    await _create_extension(connection)
    for statement in _statements(dimension):
        await connection.execute(sa.text(statement))
    await connection.execute(
        sa.text(f"INSERT INTO {COLLECTIONS} (name, model, dimension) VALUES (:name, :model, :dimension)"),  # noqa: S608 - constant
        {"name": COLLECTION, "model": model, "dimension": dimension},
    )


async def _create_extension(connection: AsyncConnection) -> None:
    found = await connection.execute(
        sa.text(
            "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = 'vector'"
        )
    )
    row = found.one_or_none()
    if row is None:
        raise NotConfiguredError(
            "the database server has no pgvector; install it or use another vector store"
        )
    version = row.installed_version or row.default_version
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_PGVECTOR:
        raise NotConfiguredError(f"pgvector 0.8 or newer is needed, the database server has {version}")
    if row.installed_version is None:
        try:
            await connection.execute(sa.text("CREATE EXTENSION vector"))
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != INSUFFICIENT_PRIVILEGE:
                raise
            raise NotConfiguredError(
                "the database user may not create the extension pgvector; "
                "an administrator of the database must run once: CREATE EXTENSION vector"
            ) from error


def _statements(dimension: int) -> list[str]:
    return [
        f"""CREATE TABLE IF NOT EXISTS {COLLECTIONS} (
            name text PRIMARY KEY,
            model text NOT NULL,
            dimension int NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )""",
        f"""CREATE TABLE {COLLECTION} (
            content_id uuid PRIMARY KEY,
            embedding halfvec({dimension}) NOT NULL,
            embedding_model text NOT NULL,
            title text NOT NULL,
            content_type text NOT NULL,
            genres text[] NOT NULL,
            platforms text[] NOT NULL,
            release_year int
        )""",
        f"""CREATE INDEX {COLLECTION}_embedding ON {COLLECTION} USING hnsw (embedding halfvec_cosine_ops)
            WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION})""",
        f"CREATE INDEX {COLLECTION}_genres ON {COLLECTION} USING gin (genres)",
        f"CREATE INDEX {COLLECTION}_platforms ON {COLLECTION} USING gin (platforms)",
        f"CREATE INDEX {COLLECTION}_content_type ON {COLLECTION} (content_type)",
        f"CREATE INDEX {COLLECTION}_release_year ON {COLLECTION} (release_year)",
    ]
