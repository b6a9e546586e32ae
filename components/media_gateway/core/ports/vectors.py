"""Port to the vector store. Backend adapters: `pgvector:` and `qdrant:`; one contract suite runs over both."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from media_gateway.core.domain.vectors import Vector, VectorFilter, VectorHit, VectorPoint


class VectorIndex(Protocol):
    """Nearest neighbours by cosine among the embeddings of one model.

    Every method raises `UnavailableError` when the store can't be reached and `DeadlineExceededError` when it is too
    slow; both are retryable.
    """

    async def ensure(self) -> None:
        """Make the collection and its payload indexes if absent; safe to call from many processes at once.

        Raises
        ------
        ConflictError
            The collection holds vectors of another model or dimension.
        """

    async def upsert_batch(self, points: Sequence[VectorPoint]) -> None:
        """Store points, replacing those with the same content id. All or none of the batch become visible.

        Raises
        ------
        InvalidInputError
            More than ``UPSERT_LIMIT`` points, a wrong dimension, or a vector with NaN or infinity.
        """

    async def delete(self, content_ids: Sequence[UUID]) -> None:
        """Remove points; unknown ids are no error."""

    async def search(
        self, vector: Vector, *, top_k: int, where: VectorFilter | None = None, with_payload: bool = True
    ) -> list[VectorHit]:
        """The ``top_k`` (1 to 1000) most similar points that pass the filter, best first.

        Without payloads, which whoever knows the contents does not need, an answer takes half the time to read.
        """

    async def fetch(self, content_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Stored vectors of those ids that exist."""

    async def count(self) -> int:
        """Number of stored points."""

    async def ping(self) -> None:
        """Return if the store answers."""

    async def close(self) -> None:
        """Release connections; further calls are errors."""
