"""What discovery does: search, one content, its offerings, what is trending. Called by the routes.

A search goes: take the query apart, ask the legs, put their answers in one order, give the contents of the page with
the reasons they were found. Must not know HTTP.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Histogram

from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.discovery.documents import ContentDetails, IndexedContent, ListedOffering, Trend
from media_gateway.discovery.legs import Candidate, Leg
from media_gateway.discovery.store import CatalogueReader, OfferingFilter
from media_gateway.discovery.text_index import QueryText, TextIndex, analyse, match_reasons
from media_gateway.discovery.trending import TrendBoard

_seconds = Histogram(
    "mgw_search_duration_seconds",
    "Time of a search, without HTTP",
    ["degraded"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What is searched for. ``page`` counts from 1."""

    text: str
    where: VectorFilter
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A found content: ``relevance`` in 0 to 1, and why it was found."""

    content: IndexedContent
    relevance: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """One page of results.

    Attributes
    ----------
    total : int
        Contents that match, on all pages.
    degraded : bool
        Something that belongs to a full answer was missing; asking again later may give more.
    elapsed_ms : float
        Time the search took, in milliseconds.
    """

    parsed: QueryText
    results: tuple[SearchResult, ...]
    total: int
    degraded: bool
    elapsed_ms: float


class DiscoveryService:
    """Use cases of discovery.

    Parameters
    ----------
    is_whole
        Whether everything that belongs to a full answer is there.
    leg
        Finds the candidates.
    index
        Gives the contents of a page.
    threads
        Where contents and reasons are worked out, beside the event loop.
    """

    def __init__(
        self,
        catalogue: CatalogueReader,
        is_whole: Callable[[], bool],
        leg: Leg,
        index: TextIndex,
        threads: Executor,
    ) -> None:
        self._catalogue = catalogue
        self._trends = TrendBoard(catalogue)
        self._is_whole = is_whole
        self._leg = leg
        self._index = index
        self._threads = threads

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """One page of what matches, best first. Works without the database: it asks the index only."""
        started = time.perf_counter()
        # Read first: an index that becomes whole during the search may not have been when it was asked.
        degraded = not self._is_whole()
        parsed = analyse(query.text)
        offset = (query.page - 1) * query.page_size
        found = await self._leg.find(parsed, query.where, offset=offset, limit=query.page_size)
        results = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._results, parsed, found.candidates
        )
        elapsed_s = time.perf_counter() - started
        _seconds.labels(str(degraded).lower()).observe(elapsed_s)
        return SearchAnswer(
            parsed=parsed,
            results=results,
            total=found.total,
            degraded=degraded,
            elapsed_ms=round(elapsed_s * 1000, 3),
        )

    async def content(self, content_id: UUID) -> ContentDetails:
        """Everything about a content; an id that was merged away gives the content that took it in.

        Raises
        ------
        NotFoundError
            There is no such content; `store.ContentRemovedError` if there was.
        """
        return await self._catalogue.details(content_id)

    async def availability(
        self, content_id: UUID, wanted: OfferingFilter
    ) -> tuple[UUID, list[ListedOffering]]:
        """The content's present id and where it can be watched.

        Raises
        ------
        NotFoundError
            As `content`.
        """
        return await self._catalogue.offerings(content_id, wanted)

    async def trending(self, *, limit: int, region: str | None, content_type: str | None) -> list[Trend]:
        """What is in demand now, best first; `trending.FRESH_S` seconds old at most."""
        return await self._trends.trending(limit=limit, region=region, content_type=content_type)

    def _results(self, parsed: QueryText, candidates: Sequence[Candidate]) -> tuple[SearchResult, ...]:
        contents = self._index.contents([candidate.content_id for candidate in candidates])
        return tuple(
            SearchResult(content, candidate.relevance, tuple(match_reasons(parsed, content)))
            for candidate in candidates
            # A content removed since the candidates were found is left out.
            if (content := contents.get(candidate.content_id)) is not None
        )
