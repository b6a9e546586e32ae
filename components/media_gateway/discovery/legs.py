"""The legs of a search: each finds candidates in its own way, the service puts their answers together.

One leg now, the text index. A leg knows no HTTP and no other leg; its scores compare within one answer only.
"""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.discovery.text_index import QueryText, TextIndex, relevance


@dataclass(frozen=True, slots=True)
class Candidate:
    """A content a leg proposes.

    Attributes
    ----------
    score : float
        The leg's own scale.
    relevance : float
        0 to 1, never decreasing in the score.
    """

    content_id: UUID
    score: float
    relevance: float


@dataclass(frozen=True, slots=True)
class LegAnswer:
    """Candidates from ``offset`` on, best first, and how many contents match in all."""

    candidates: tuple[Candidate, ...]
    total: int


class Leg(Protocol):
    """One way to find contents."""

    name: str

    async def find(self, query: QueryText, where: VectorFilter, *, offset: int, limit: int) -> LegAnswer:
        """Candidates that pass the filter."""


class TextLeg:
    """By words, people and titles.

    Parameters
    ----------
    threads
        Searches run here, beside the event loop.
    """

    name = "text"

    def __init__(self, index: TextIndex, threads: Executor) -> None:
        self._index = index
        self._threads = threads

    async def find(self, query: QueryText, where: VectorFilter, *, offset: int, limit: int) -> LegAnswer:
        """Candidates of the text index."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._find, query, where, offset, limit
        )

    def _find(self, query: QueryText, where: VectorFilter, offset: int, limit: int) -> LegAnswer:
        found = self._index.search(query, where, offset=offset, limit=limit)
        candidates = (Candidate(hit.content_id, hit.score, relevance(hit.score)) for hit in found.hits)
        return LegAnswer(tuple(candidates), found.total)
