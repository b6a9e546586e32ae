"""Searching: take the query apart, ask the legs side by side, put their answers in one order, show one page of it.

Called by the routes. A leg that fails or is late is left out and the answer says so; only when all do is there none.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError, UnavailableError
from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.fusion import Fused, QueryClass, class_of, fuse
from media_gateway.discovery.legs import TEXT_DEPTH, Candidate, Leg, LegAnswer, TextAnswer
from media_gateway.discovery.platforms import check_platforms
from media_gateway.discovery.ranking import Variant
from media_gateway.discovery.text_index import (
    QueryText,
    Summary,
    TextIndex,
    analyse,
    certainty,
    match_reasons,
)

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_seconds = Histogram(
    "mgw_search_duration_seconds", "Time of a search, without HTTP", ["degraded"], buckets=_BUCKETS
)
_leg_seconds = Histogram(
    "mgw_search_leg_duration_seconds", "Time of a leg that answered", ["leg"], buckets=_BUCKETS
)
_missing = Counter("mgw_search_leg_missing_total", "Legs that failed or were late", ["leg", "code"])
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What is searched for. ``page`` counts from 1."""

    text: str
    where: SearchFilter
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A found content: ``relevance`` in 0 to 1, what each leg says of it, and why it was found, in words."""

    content: IndexedContent
    relevance: float
    scores: Mapping[str, float]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """One page of results.

    Attributes
    ----------
    summary : Summary
        Of all that was found, on all pages.
    query_class : QueryClass
        What the query was taken for.
    missing : tuple[str, ...]
        Legs that failed or were late.
    degraded : bool
        Something that belongs to a full answer was missing; asking again later may give more.
    timings_ms : Mapping[str, float]
        Time of each leg that answered, in milliseconds.
    elapsed_ms : float
        Time the search took, in milliseconds.
    """

    parsed: QueryText
    results: tuple[SearchResult, ...]
    summary: Summary
    query_class: QueryClass
    missing: tuple[str, ...]
    degraded: bool
    timings_ms: Mapping[str, float]
    elapsed_ms: float


@dataclass(slots=True)
class _Found:
    """What the legs have found, by their names."""

    answers: dict[str, LegAnswer] = field(default_factory=dict)
    timings_ms: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def take(self, leg: str, task: asyncio.Task[LegAnswer], elapsed_ms: float) -> None:
        """Keep what a leg has answered; an error that is none of ours is raised."""
        try:
            self.answers[leg] = task.result()
        except MediaGatewayError as error:
            self.miss(leg, error)
        else:
            self.timings_ms[leg] = round(elapsed_ms, 3)
            _leg_seconds.labels(leg).observe(elapsed_ms / 1000)

    def miss(self, leg: str, error: MediaGatewayError) -> None:
        """Note that a leg gave nothing."""
        self.missing.append(leg)
        _missing.labels(leg, error.code).inc()
        _log.info("a leg did not answer", leg=leg, problem=error.message)

    @property
    def text(self) -> TextAnswer:
        answer = self.answers.get("text")
        return answer if isinstance(answer, TextAnswer) else TextAnswer((), 0, strict=True)

    def candidates(self, variant: Variant) -> dict[str, Sequence[Candidate]]:
        """What there is to be fused."""
        text = self.text
        if text.total > len(text.candidates) and text.candidates[-1].certain is not None:
            # There are more certain matches than these; whatever is not certain would come after all of them.
            return {"text": text.candidates}
        found: dict[str, Sequence[Candidate]] = {
            name: answer.candidates for name, answer in self.answers.items()
        }
        if "vector" in found:
            found["vector"] = [one for one in found["vector"] if one.score >= variant.min_similarity]
        return found


class SearchService:
    """Searches the catalogue.

    Parameters
    ----------
    legs
        The text leg among them.
    index
        Gives the contents of a page and counts what was found.
    threads
        Where the index is asked, beside the event loop.
    is_whole
        Whether the index holds all of the catalogue.
    """

    def __init__(
        self, legs: Sequence[Leg], index: TextIndex, threads: Executor, is_whole: Callable[[], bool]
    ) -> None:
        self._legs = legs
        self._index = index
        self._threads = threads
        self._is_whole = is_whole
        self._ending = set[asyncio.Task[LegAnswer]]()

    async def search(self, query: SearchQuery, variant: Variant) -> SearchAnswer:
        """One page of what matches, best first.

        Raises
        ------
        InvalidInputError
            No content is offered by a platform that the filter names.
        UnavailableError
            No leg answered.
        """
        started = time.perf_counter()
        # Read first: an index that becomes whole during the search may not have been when it was asked.
        whole = self._is_whole()
        if whole:
            asked = enumerate(query.where.platforms_any)
            check_platforms({f"filters.platforms.{n}": platform for n, platform in asked}, self._index)
        parsed = analyse(query.text)
        found = await self._ask_legs(parsed, query.where, variant)
        similar = found.answers["title"].candidates if "title" in found.answers else ()
        query_class = class_of(parsed, similar)
        pool = fuse(found.candidates(variant), query_class, variant)
        results, summary = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._page, parsed, query, found.text, pool
        )
        elapsed_s = time.perf_counter() - started
        degraded = bool(found.missing) or not whole
        _seconds.labels(str(degraded).lower()).observe(elapsed_s)
        return SearchAnswer(
            parsed=parsed,
            results=results,
            summary=summary,
            query_class=query_class,
            missing=tuple(found.missing),
            degraded=degraded,
            timings_ms=found.timings_ms,
            elapsed_ms=round(elapsed_s * 1000, 3),
        )

    async def _ask_legs(self, parsed: QueryText, where: SearchFilter, variant: Variant) -> _Found:
        """Ask all legs; one that is late is left out once another has answered.

        Until one has, all are waited for: a late answer is better than none, and the request has a deadline of its own.
        """
        found, started = _Found(), time.perf_counter()
        limits_ms: dict[str, int] = dict(variant.leg_timeouts_ms)
        asked = {asyncio.create_task(leg.find(parsed, where)): leg.name for leg in self._legs}
        pending = set(asked)
        try:
            while pending:
                left_s = (
                    min(limits_ms[asked[task]] for task in pending) / 1000 - time.perf_counter() + started
                )
                timeout_s = max(0.0, left_s) if found.answers else None
                done, pending = await asyncio.wait(
                    pending, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
                )
                elapsed_ms = (time.perf_counter() - started) * 1000
                for task in done:
                    found.take(asked[task], task, elapsed_ms)
                late = {task for task in pending if found.answers and elapsed_ms >= limits_ms[asked[task]]}
                for task in late:
                    found.miss(asked[task], DeadlineExceededError(f"took over {limits_ms[asked[task]]} ms"))
                self._let_go(late)
                pending -= late
        finally:
            self._let_go(pending)
        if not found.answers:
            raise UnavailableError(f"nothing can be searched now: {', '.join(sorted(found.missing))} failed")
        return found

    def _let_go(self, tasks: Collection[asyncio.Task[LegAnswer]]) -> None:
        """End legs that nobody waits for any more: a driver may take seconds to turn from a server that hangs."""
        for task in tasks:
            self._ending.add(task)
            task.add_done_callback(self._ended)
            task.cancel()

    def _ended(self, task: asyncio.Task[LegAnswer]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            # Looked at, as nobody else does.
            task.exception()

    def _page(
        self, parsed: QueryText, query: SearchQuery, text: TextAnswer, pool: Sequence[Fused]
    ) -> tuple[tuple[SearchResult, ...], Summary]:
        in_text = {one.content_id for one in text.candidates}
        others = [one.content_id for one in pool if one.content_id not in in_text]
        summary = self._index.summary(parsed, query.where, others, strict=text.strict)
        first = (query.page - 1) * query.page_size
        page = list(pool[first : first + query.page_size])
        if len(page) < query.page_size and text.total > len(text.candidates):
            page += self._beyond(parsed, query, pool, wanted=query.page_size - len(page))
        contents = self._index.contents([one.content_id for one in page])
        results = (
            SearchResult(content, one.relevance, one.scores, tuple(match_reasons(parsed, content)))
            for one in page
            # A content removed since the candidates were found is left out.
            if (content := contents.get(one.content_id)) is not None
        )
        return tuple(results), summary

    def _beyond(
        self, parsed: QueryText, query: SearchQuery, pool: Sequence[Fused], *, wanted: int
    ) -> list[Fused]:
        """What matches by its words and came too late to be fused, in the order of the text index."""
        start = max(0, (query.page - 1) * query.page_size - len(pool))
        pooled = {one.content_id for one in pool}
        # Some of what follows may have been found by another leg.
        limit = start + wanted + len(pooled)
        hits = self._index.search(parsed, query.where, offset=TEXT_DEPTH, limit=limit).hits
        rest = [hit for hit in hits if hit.content_id not in pooled][start : start + wanted]
        last = pool[-1].relevance if pool else 0.0
        return [Fused(hit.content_id, min(last, certainty(hit.score) or 0.0), {}) for hit in rest]
