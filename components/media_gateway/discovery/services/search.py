"""Searching: understand the query, ask the legs side by side, put their answers in one order, show one page of it.

Called by the answers, which keep what is found. A leg that fails or is late is left out and the answer says so; only when
all do is there none.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final, TypeVar, TypeVarTuple, Unpack
from uuid import UUID

from prometheus_client import Histogram

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.fusion import Fused, QueryClass, class_of, fuse
from media_gateway.discovery.legs import TEXT_DEPTH, Leg
from media_gateway.discovery.personalisation import Asker, PersonalOrder
from media_gateway.discovery.platforms import check_platforms
from media_gateway.discovery.ranking import Variant
from media_gateway.discovery.reranking import Reranker
from media_gateway.discovery.services.gathering import BUCKETS, Found, ask_legs
from media_gateway.discovery.services.neighbourhood import Neighbourhood
from media_gateway.discovery.services.reading import QueryReading, Read, without_conditions
from media_gateway.discovery.suggestions import Spelling
from media_gateway.discovery.text_index import (
    Summary,
    TextIndex,
    Wording,
    analyse,
    certainty,
    match_reasons,
)
from media_gateway.discovery.understanding import Facts, Reference, Understanding, fact_reasons

A = TypeVarTuple("A")
T = TypeVar("T")

MAX_REASONS: Final = 5
"""Reasons given at most, strongest first."""

_seconds = Histogram(
    "mgw_search_duration_seconds", "Time of a search, without HTTP", ["degraded"], buckets=BUCKETS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What is searched for, and by whom. ``page`` counts from 1.

    Attributes
    ----------
    asker : Asker | None
        Whose order the results get; None for the same order as everybody's.
    """

    text: str
    where: SearchFilter
    page: int
    page_size: int
    asker: Asker | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A found content: ``relevance`` in 0 to 1, what each leg says of it, and why it was found, in words.

    ``features`` is what the re-ranker went by, empty where it took no part.
    """

    content: IndexedContent
    relevance: float
    scores: Mapping[str, float]
    reasons: tuple[str, ...]
    features: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """One page of results.

    Attributes
    ----------
    understood : Understanding
        What the query was taken to ask for.
    relaxed : Facts
        What it asks for and no content fulfils together; it was searched by its words instead.
    did_you_mean : str | None
        The query as it was probably meant.
    summary : Summary
        Of all that was found, on all pages.
    query_class : QueryClass
        What the query was taken for.
    missing : tuple[str, ...]
        Legs that failed or were late; ``parser`` for the language model that should have read the query, ``personal`` for
        an order that should have been the caller's.
    degraded : bool
        Something that belongs to a full answer was missing; asking again later may give more.
    personalised : bool
        Whether the order is the caller's own.
    timings_ms : Mapping[str, float]
        Time of each leg that answered, in milliseconds.
    elapsed_ms : float
        Time the search took, in milliseconds.
    """

    understood: Understanding
    relaxed: Facts
    did_you_mean: str | None
    results: tuple[SearchResult, ...]
    summary: Summary
    query_class: QueryClass
    missing: tuple[str, ...]
    degraded: bool
    personalised: bool
    timings_ms: Mapping[str, float]
    elapsed_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParts:
    """What a search works with.

    Attributes
    ----------
    legs : Sequence[Leg]
        The text leg among them.
    index : TextIndex
        Gives the contents of a page and counts what was found.
    personal : PersonalOrder | None
        None where there is no sona.
    threads : Executor
        Where the index is asked, beside the event loop.
    is_whole : Callable[[], bool]
        Whether the index holds all of the catalogue.
    """

    legs: Sequence[Leg]
    index: TextIndex
    reading: QueryReading
    neighbourhood: Neighbourhood
    reranker: Reranker
    spelling: Spelling
    personal: PersonalOrder | None
    threads: Executor
    is_whole: Callable[[], bool]


@dataclass(slots=True)
class _Pool:
    """Everything found, in order; ``reasons`` of what was found by its likeness to a content."""

    ordered: list[Fused]
    found: Found
    query_class: QueryClass
    reasons: Mapping[UUID, tuple[str, ...]]


class SearchService:
    """Searches the catalogue."""

    def __init__(self, parts: SearchParts) -> None:
        self._parts = parts
        self._index = parts.index

    def is_personal(self, asker: Asker | None, variant: Variant) -> bool:
        """Whether somebody's order of results may differ from everybody's."""
        return asker is not None and self._parts.personal is not None and variant.personalisation_weight > 0

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
        whole = self._parts.is_whole()
        if whole:
            asked = enumerate(query.where.platforms_any)
            check_platforms({f"filters.platforms.{n}": platform for n, platform in asked}, self._index)
        read = await self._parts.reading.read(query.text, query.where)
        pool = await self._pool(read, query.where, variant)
        if not pool.ordered and not read.understood.is_plain:
            # What fulfils the conditions has none of the words: better the words without the conditions than nothing.
            read = replace(without_conditions(read.understood, query.text), whole=read.whole)
            pool = await self._pool(read, query.where, variant)
        understood = read.understood
        wanted = replace(query, where=query.where.narrowed(understood.where))
        personalised = await self._personalise(pool, query, variant)
        results, summary, meant = await self._beside(self._page, understood, wanted, pool)
        elapsed_s = time.perf_counter() - started
        degraded = bool(pool.found.missing) or not whole
        _seconds.labels(str(degraded).lower()).observe(elapsed_s)
        return SearchAnswer(
            understood=understood,
            relaxed=read.relaxed,
            did_you_mean=meant,
            results=results,
            summary=summary,
            query_class=pool.query_class,
            missing=tuple(pool.found.missing),
            degraded=degraded,
            personalised=personalised,
            timings_ms=pool.found.timings_ms,
            elapsed_ms=round(elapsed_s * 1000, 3),
        )

    async def _pool(self, read: Read, own: SearchFilter, variant: Variant) -> _Pool:
        where = own.narrowed(read.understood.where)
        words, references = read.understood.words, read.understood.asked.references
        found = Found()
        if words.words or not references:
            found = await ask_legs(self._parts.legs, words, where, dict(variant.leg_timeouts_ms))
        query_class = class_of(words, found.titles)
        fused = fuse(found.candidates(words, variant), query_class, variant)
        if variant.reranker and query_class is QueryClass.DESCRIPTIVE:
            fused = await self._beside(self._parts.reranker.reranked, words, fused)
        pool = _Pool(fused, found, query_class, {})
        if references:
            await self._add_neighbours(pool, references, where)
        if not read.whole:
            found.missing.append("parser")
        return pool

    async def _add_neighbours(
        self, pool: _Pool, references: Sequence[Reference], where: SearchFilter
    ) -> None:
        """What is like the references, in order of likeness; with further words, of both in equal parts."""
        likeness: dict[UUID, float] = {}
        reasons: dict[UUID, tuple[str, ...]] = {}
        for reference in references:
            neighbours, is_whole = await self._parts.neighbourhood.of(reference.content_id, where)
            if not is_whole and "vector" not in pool.found.missing:
                pool.found.missing.append("vector")
            for one in neighbours:
                content_id = one.content.content_id
                likeness[content_id] = likeness.get(content_id, 0.0) + one.similarity / len(references)
                why = f"like {reference.title}: {'; '.join(one.reasons)}"
                reasons[content_id] = (*reasons.get(content_id, ()), why)
        by_words = {one.content_id: one for one in pool.ordered}
        share = 0.5 if by_words else 1.0
        merged = [
            Fused(
                content_id,
                round(
                    share * likeness.get(content_id, 0.0)
                    + (1 - share) * (by_words[content_id].relevance if content_id in by_words else 0.0),
                    4,
                ),
                by_words[content_id].scores if content_id in by_words else {},
            )
            for content_id in {**likeness, **by_words}
            if all(content_id != reference.content_id for reference in references)
        ]
        pool.ordered = sorted(merged, key=lambda one: -one.relevance)
        pool.reasons = reasons

    async def _personalise(self, pool: _Pool, query: SearchQuery, variant: Variant) -> bool:
        personal, weight = self._parts.personal, variant.personalisation_weight
        if query.asker is None or personal is None or not weight:
            return False
        pool.ordered, done = await personal.of(pool.ordered, query.asker, weight)
        if not done:
            pool.found.missing.append("personal")
        return done

    def _page(
        self, understood: Understanding, query: SearchQuery, pool: _Pool
    ) -> tuple[tuple[SearchResult, ...], Summary, str | None]:
        words, text = understood.words, pool.found.text
        # Of a description, what shares a few words with it by chance is no result: the candidates are all there is.
        all_matches = pool.query_class is QueryClass.TITLE_LIKE
        in_text = {one.content_id for one in text.candidates} if all_matches else set()
        others = [one.content_id for one in pool.ordered if one.content_id not in in_text]
        matching = words if all_matches else analyse("")
        summary = self._index.summary(matching, query.where, others, strict=text.strict)
        first = (query.page - 1) * query.page_size
        page = pool.ordered[first : first + query.page_size]
        if all_matches and len(page) < query.page_size and text.total > len(text.candidates):
            page += self._beyond(understood, query, pool, wanted=query.page_size - len(page))
        found = self._index.worded([one.content_id for one in page])
        results = tuple(
            SearchResult(
                found[one.content_id][0],
                one.relevance,
                one.scores,
                _reasons(understood, found[one.content_id], one, pool.reasons),
                one.features,
            )
            for one in page
            # A content removed since the candidates were found is left out.
            if one.content_id in found
        )
        if words.kind is not None or understood.asked.references:
            return results, summary, None
        return results, summary, self._parts.spelling.did_you_mean(analyse(query.text))

    def _beyond(
        self, understood: Understanding, query: SearchQuery, pool: _Pool, *, wanted: int
    ) -> list[Fused]:
        """What matches by its words and came too late to be fused, in the order of the text index."""
        start = max(0, (query.page - 1) * query.page_size - len(pool.ordered))
        pooled = {one.content_id for one in pool.ordered}
        # Some of what follows may have been found by another leg.
        limit = start + wanted + len(pooled)
        hits = self._index.search(understood.words, query.where, offset=TEXT_DEPTH, limit=limit).hits
        rest = [hit for hit in hits if hit.content_id not in pooled][start : start + wanted]
        last = pool.ordered[-1].relevance if pool.ordered else 0.0
        return [Fused(hit.content_id, min(last, certainty(hit.score) or 0.0), {}) for hit in rest]

    async def _beside(self, call: Callable[[Unpack[A]], T], *arguments: *A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._parts.threads, call, *arguments)


def _reasons(
    understood: Understanding,
    found: tuple[IndexedContent, Wording],
    result: Fused,
    likenesses: Mapping[UUID, tuple[str, ...]],
) -> tuple[str, ...]:
    """Why a content is a result, strongest first; never empty."""
    content, wording = found
    by_facts = fact_reasons(understood.asked, content)
    by_words = match_reasons(understood.words, content, wording)
    if understood.words.kind is not None:
        # The words of "from the fifties" are the facts; only a title says more.
        by_words = [reason for reason in by_words if reason.startswith("title")]
    reasons = dict.fromkeys((*likenesses.get(content.content_id, ()), *by_words, *by_facts))
    if not reasons:
        title, meaning = result.scores.get("title", 0.0), result.scores.get("vector", 0.0)
        reasons = dict.fromkeys(["title is similar" if title >= meaning else "similar in meaning"])
    return tuple(reasons)[:MAX_REASONS]
