"""Embeddings and what stands beside them in the vector index."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from media_gateway.core.errors import FieldError, InvalidInputError

COLLECTION = "media_content"
"""The one collection of content vectors, the same name in every vector store."""

EMBEDDING_MODEL = "all-MiniLM-L6-v2"
EMBEDDING_DIMENSION = 384
"""Of the default model. A store keeps model and dimension with its vectors and refuses to mix."""

UPSERT_LIMIT = 100
"""Most points one ``upsert_batch`` call takes; callers with more send several."""

SEARCH_LIMIT = 1000
"""Most hits one search gives."""

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
    """A found content: cosine similarity in [-1, 1], best first, and its payload unless that was not wanted."""

    content_id: UUID
    similarity: float
    payload: VectorPayload | None = field(compare=False)


def unit_vector(vector: Vector, *, dimension: int, field_name: str = "vector") -> Vector:
    """The vector as float32 of length 1.

    Raises
    ------
    InvalidInputError
        Another dimension, NaN, infinity, or zero length: cosine similarity is not defined for it.
    """
    values = np.asarray(vector, np.float32)
    if values.shape != (dimension,):
        raise _invalid(field_name, f"must have {dimension} numbers, has shape {values.shape}")
    length = float(np.linalg.norm(values.astype(np.float64)))
    if not np.isfinite(length) or length == 0.0:
        raise _invalid(field_name, "must hold finite numbers that are not all zero")
    return np.asarray(values / length, np.float32)


def check_batch(points: Sequence[VectorPoint], *, dimension: int) -> list[VectorPoint]:
    """Points fit to be stored: normalised, of several with one id the last, in the order of their ids.

    Every store writes in this order, so that two writers of the same points can't deadlock.

    Raises
    ------
    InvalidInputError
        More than `UPSERT_LIMIT` points, or an unusable vector.
    """
    if len(points) > UPSERT_LIMIT:
        raise _invalid("points", f"holds {len(points)} points; at most {UPSERT_LIMIT} fit one batch")
    checked = {
        point.content_id: replace(
            point,
            vector=unit_vector(point.vector, dimension=dimension, field_name=f"points.{place}.vector"),
        )
        for place, point in enumerate(points)
    }
    return [checked[content_id] for content_id in sorted(checked)]


def check_texts(texts: Sequence[str]) -> None:
    """Raise `InvalidInputError` naming the first text that can't be embedded (it holds a lone surrogate)."""
    for place, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _invalid(f"texts.{place}", "is not valid Unicode text") from error


def check_top_k(top_k: int) -> None:
    """Raise `InvalidInputError` unless it is from 1 to `SEARCH_LIMIT`."""
    if not 1 <= top_k <= SEARCH_LIMIT:
        raise _invalid("top_k", f"must be from 1 to {SEARCH_LIMIT}, is {top_k}")


def _invalid(name: str, message: str) -> InvalidInputError:
    return InvalidInputError(f"{name} {message}", errors=[FieldError(name, message)])
