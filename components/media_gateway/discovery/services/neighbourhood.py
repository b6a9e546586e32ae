"""What is like a content: found by its vector and by what it shares, judged by `neighbours`. Used by the services."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Final
from uuid import UUID

import structlog

from media_gateway.core.breaker import CircuitBreaker
from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.ports.vectors import VectorIndex
from media_gateway.discovery.documents import Neighbour
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.legs import CIRCUIT
from media_gateway.discovery.neighbours import alike, rarities
from media_gateway.discovery.text_index import TextIndex

NEIGHBOURS: Final = 200
"""Contents compared with one of which the like are asked for."""

VECTOR_TIMEOUT_S: Final = 0.3
"""Longest the vector store is waited for, in seconds: as long as a leg of a search."""

_log = structlog.get_logger(__name__)


class Neighbourhood:
    """Contents that are like another.

    Candidates are those nearest in meaning and those that share names, genres and keywords. Without a vector, or while the
    vector store is away, there are only the latter.

    Parameters
    ----------
    threads
        Where the index is asked, beside the event loop.
    """

    def __init__(self, index: TextIndex, vectors: VectorIndex, threads: Executor) -> None:
        self._index = index
        self._vectors = vectors
        self._threads = threads
        self._breaker = CircuitBreaker("neighbours", CIRCUIT)

    async def of(self, content_id: UUID, where: SearchFilter) -> tuple[list[Neighbour], bool]:
        """What is most like a content and passes the filter, best first; and whether the vector store answered."""
        try:
            async with asyncio.timeout(VECTOR_TIMEOUT_S), self._breaker.attempt():
                similarities, is_whole = await self._nearest(content_id), True
        except (MediaGatewayError, TimeoutError) as error:
            _log.info("neighbours without vectors", problem=str(error) or "took too long")
            similarities, is_whole = {}, False
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, self._alike, content_id, similarities, where
        ), is_whole

    async def _nearest(self, content_id: UUID) -> Mapping[UUID, float]:
        vector = (await self._vectors.fetch([content_id])).get(content_id)
        if vector is None:
            return {}
        where = VectorFilter(exclude_ids=(content_id,))
        hits = await self._vectors.search(vector, top_k=NEIGHBOURS, where=where, with_payload=False)
        return {hit.content_id: hit.similarity for hit in hits}

    def _alike(
        self, content_id: UUID, similarities: Mapping[UUID, float], where: SearchFilter
    ) -> list[Neighbour]:
        one = self._index.contents([content_id]).get(content_id)
        if one is None:
            return []
        passing = self._index.passing(list(similarities), where)
        ids = dict.fromkeys((*sorted(passing), *self._index.sharing(one, where, limit=NEIGHBOURS)))
        ids.pop(content_id, None)
        rarity = rarities(self._index.values("genre"))
        found = [
            Neighbour(other, *alike(one, other, similarities.get(other.content_id, 0.0), rarity))
            for other in self._index.contents(list(ids)).values()
        ]
        return sorted(
            found,
            key=lambda one: (
                -one.similarity,
                -(one.content.popularity_score or 0.0),
                one.content.content_id.int,
            ),
        )
