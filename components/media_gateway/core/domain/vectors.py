"""Embeddings and what stands beside them in the vector index."""

from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

COLLECTION = "media_content"
"""The one collection of content vectors, the same name in every vector store."""

EMBEDDING_MODEL = "all-MiniLM-L6-v2"
EMBEDDING_DIMENSION = 384
"""Of the default model. A store keeps model and dimension with its vectors and refuses to mix."""

UPSERT_LIMIT = 100
"""Most points one ``upsert_batch`` call takes; callers with more send several."""

Vector = NDArray[np.float32]
"""Shape (dimension,), L2-normalised float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPayload:
    """What filters need, stored with each vector."""

    title: str
    content_type: str
    genres: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    release_year: int | None = None


@dataclass(frozen=True, slots=True)
class VectorPoint:
    """A content's embedding with its payload; the point's id is the content id."""

    content_id: UUID
    vector: Vector
    payload: VectorPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFilter:
    """Conditions that all hold for a hit. Empty tuples and ``None`` ask nothing."""

    genres_any: tuple[str, ...] = ()
    genres_none: tuple[str, ...] = ()
    platforms_any: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ()
    year_from: int | None = None
    year_to: int | None = None
    content_ids: tuple[UUID, ...] = ()
    exclude_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class VectorHit:
    """A found content: cosine similarity in [-1, 1], best first."""

    content_id: UUID
    similarity: float
    payload: VectorPayload = field(compare=False)
