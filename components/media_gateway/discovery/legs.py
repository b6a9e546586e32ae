"""The legs of a search: each finds candidates in its own way; `fusion` puts their answers in one order.

A leg knows no HTTP and no other leg. Called side by side by the search service, which sets each one's deadline.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar
from uuid import UUID

from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.domain.vectors import SEARCH_LIMIT, Vector, VectorFilter
from media_gateway.core.ports.vectors import VectorIndex
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.meaning import QueryEmbedder
from media_gateway.discovery.text_index import QueryText, TextIndex, certainty

TEXT_DEPTH: Final = 200
"""Candidates of the text leg. As of the others, whatever page is asked for: an order must not depend on the page."""

TITLE_DEPTH: Final = 50
"""Candidates whose titles are compared letter by letter, about 10 microseconds each."""

VECTOR_DEPTH: Final = 200
"""Candidates of the vector leg: of films whose description was searched for, 14 in 100 more are among 200 than among
50 (measured over 36,000 descriptions)."""

SELECTIVE: Final = 2_000
"""A filter that leaves at most so many contents is applied first, by their ids, and the search among them is exact."""

CIRCUIT: Final = BreakerPolicy(failures=5, open_ms=5_000, window_ms=5_000, slow_ms=100)
"""Of the embedder and of the vector store. A short window, so that a server that hangs under load is left alone after some
2.5 s of waiting, and asked again 5 s later. An answer is late after 300 ms as a rule; of the two steps before it, the one
that took most of that is at fault."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A content a leg proposes.

    Attributes
    ----------
    score : float
        The leg's own scale; compares within one answer only.
    certain : float | None
        How relevant a match is that no other leg can outdo, 0.86 to 1; see `text_index.certainty`.
    """

    content_id: UUID
    score: float
    certain: float | None = None


@dataclass(frozen=True, slots=True)
class LegAnswer:
    """Candidates, best first."""

    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class TextAnswer(LegAnswer):
    """Also how many contents match in all, and whether they have most of the words or only some."""

    total: int
    strict: bool


class Leg(Protocol):
    """One way to find contents."""

    @property
    def name(self) -> str:
        """What it is called in ranking variants, answers and metrics."""

    async def find(self, query: QueryText, where: SearchFilter) -> LegAnswer:
        """Candidates that pass the filter.

        Raises
        ------
        MediaGatewayError
            It can't answer now; the others go on without it.
        """


class TextLeg:
    """By words, people, kinds and whole titles.

    Parameters
    ----------
    threads
        Searches run here, beside the event loop.
    """

    name = "text"

    def __init__(self, index: TextIndex, threads: Executor) -> None:
        self._index = index
        self._threads = threads

    async def find(self, query: QueryText, where: SearchFilter) -> TextAnswer:
        """Candidates of the text index."""
        found = await _beside(self._threads, self._index.search, query, where, limit=TEXT_DEPTH)
        candidates = tuple(Candidate(hit.content_id, hit.score, certainty(hit.score)) for hit in found.hits)
        return TextAnswer(candidates, found.total, found.strict)


class TitleLeg:
    """By titles that are like the whole query, typing errors included."""

    name = "title"

    def __init__(self, index: TextIndex, threads: Executor) -> None:
        self._index = index
        self._threads = threads

    async def find(self, query: QueryText, where: SearchFilter) -> LegAnswer:
        """Candidates with the likeness of their title, 0 to 1, as score."""
        hits = await _beside(self._threads, self._index.similar_titles, query, where, limit=TITLE_DEPTH)
        return LegAnswer(tuple(Candidate(hit.content_id, hit.score) for hit in hits))


class VectorLeg:
    """By meaning: the query's embedding against those of contents.

    Filters that leave little are applied first. Otherwise the vector store applies what it knows, the text index, which
    knows all of a content, judges what comes back, and more is asked for until there is enough: no filter hides what
    passes it.

    Parameters
    ----------
    index
        Judge of filters, and of what is in the catalogue.
    """

    name = "vector"

    def __init__(
        self, embedder: QueryEmbedder, vectors: VectorIndex, index: TextIndex, threads: Executor
    ) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._index = index
        self._threads = threads
        self._embedding = CircuitBreaker("query embedding", CIRCUIT)
        self._searching = CircuitBreaker("vector search", CIRCUIT)

    async def find(self, query: QueryText, where: SearchFilter) -> LegAnswer:
        """Candidates with their cosine similarity as score; none for a query that only names a kind.

        What is of the kind is known then, and nearness to words like "80s horror" says nothing more.
        """
        if query.kind is not None or not query.words:
            return LegAnswer(())
        async with self._embedding.attempt():
            vector = await self._embedder.embed_query(query.text)
        async with self._searching.attempt():
            candidates = await self._nearest(vector, where)
        return LegAnswer(tuple(candidates))

    async def _nearest(self, vector: Vector, where: SearchFilter) -> list[Candidate]:
        if where.asks_nothing:
            return await self._judged(vector, where, VectorFilter(), VECTOR_DEPTH)
        ids, total = await _beside(self._threads, self._index.selected, where, limit=SELECTIVE)
        if not ids:
            return []
        if total <= SELECTIVE:
            return await self._judged(vector, where, VectorFilter(content_ids=tuple(ids)), VECTOR_DEPTH)
        found = await self._judged(vector, where, _known_to_store(where), SEARCH_LIMIT)
        if len(found) >= VECTOR_DEPTH:
            return found
        # So few of the nearest pass what only the index knows that all that pass must be named.
        ids, _ = await _beside(self._threads, self._index.selected, where, limit=total)
        return await self._judged(vector, where, VectorFilter(content_ids=tuple(ids)), VECTOR_DEPTH)

    async def _judged(
        self, vector: Vector, where: SearchFilter, known: VectorFilter, top_k: int
    ) -> list[Candidate]:
        hits = await self._vectors.search(vector, top_k=top_k, where=known, with_payload=False)
        # Also without a filter: a vector may be of a content that is gone.
        passing = await _beside(self._threads, self._index.passing, [hit.content_id for hit in hits], where)
        found = [Candidate(hit.content_id, hit.similarity) for hit in hits if hit.content_id in passing]
        return found[:VECTOR_DEPTH]


def _known_to_store(where: SearchFilter) -> VectorFilter:
    return VectorFilter(
        genres_any=where.genres_any,
        genres_none=where.genres_none,
        platforms_any=where.platforms_any,
        content_types=where.content_types,
        year_from=where.year_from,
        year_to=where.year_to,
    )


async def _beside(threads: Executor, call: Callable[..., T], *arguments: object, **named: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, partial(call, *arguments, **named))
