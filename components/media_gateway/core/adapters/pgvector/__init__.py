"""Vectors in Postgres by pgvector, the embedded default."""

from media_gateway.core.adapters.pgvector.index import PgvectorIndex

__all__ = ["PgvectorIndex"]
