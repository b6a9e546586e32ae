"""Answers of searches as the bytes that are sent, kept or new. Called by the search route.

What the route has to know of an answer beside its bytes travels in front of them, so that a kept answer is never read.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from media_gateway.core.web.schemas import to_bytes
from media_gateway.discovery.cache import (
    DEGRADED_TTL_S,
    FULL_TTL_S,
    AnswerCache,
    AskedSearch,
    CacheKey,
    CacheState,
    Computed,
    normalised_query,
    search_key,
)
from media_gateway.discovery.filters import ParentalLimits
from media_gateway.discovery.generation import CatalogueGeneration
from media_gateway.discovery.personalisation import Asker
from media_gateway.discovery.ranking import NamedVariant
from media_gateway.discovery.ranking_book import RankingBook
from media_gateway.discovery.search_schemas import SearchRequest, SearchResponse
from media_gateway.discovery.services.search import SearchQuery, SearchService

NO_LIMITS: Final = ParentalLimits()

_FACTS: Final = Struct(">IH?")
"""Results in all, results on the page, whether something was missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBytes:
    """An answer and what is to be known of it.

    Attributes
    ----------
    body : bytes
        A `SearchResponse` as JSON.
    total, shown : int
        Results on all pages, and on this one.
    """

    body: bytes
    state: CacheState
    total: int
    shown: int
    degraded: bool


@dataclass(frozen=True, slots=True)
class KnownSearcher:
    """What is known of who searches."""

    asker: Asker | None = None
    limits: ParentalLimits = NO_LIMITS


class SearchAnswers:
    """The cache before the search service."""

    def __init__(
        self, service: SearchService, cache: AnswerCache, generation: CatalogueGeneration, book: RankingBook
    ) -> None:
        self._service = service
        self._cache = cache
        self._generation = generation
        self._book = book

    async def answer(
        self, request: SearchRequest, variant: NamedVariant, searcher: KnownSearcher
    ) -> SearchBytes:
        """The answer to a request.

        Raises
        ------
        InvalidInputError, UnavailableError
            As `SearchService.search`; nothing is kept then.
        """
        asker = searcher.asker if self._service.is_personal(searcher.asker, variant.settings) else None
        # Read before the search begins: an answer is kept under what the index held then.
        key = self._key(request, variant.name, searcher.limits, asker)

        async def compute() -> Computed:
            query = SearchQuery(
                text=normalised_query(request.query),
                where=request.filters.to_domain().limited(searcher.limits),
                page=request.page,
                page_size=request.page_size,
                asker=asker,
            )
            found = await self._service.search(query, variant.settings)
            facts = _FACTS.pack(found.summary.total, len(found.results), found.degraded)
            body = to_bytes(SearchResponse.from_domain(found, request))
            return Computed(facts + body, DEGRADED_TTL_S if found.degraded else FULL_TTL_S)

        answered = await self._cache.answer(key, compute)
        total, shown, degraded = _FACTS.unpack_from(answered.body)
        return SearchBytes(
            body=answered.body[_FACTS.size :],
            state=answered.state,
            total=total,
            shown=shown,
            degraded=degraded,
        )

    def _key(
        self, request: SearchRequest, variant: str, limits: ParentalLimits, asker: Asker | None
    ) -> CacheKey:
        return search_key(
            AskedSearch(
                query=request.query,
                page=request.page,
                page_size=request.page_size,
                filters={
                    **request.filters.model_dump(mode="json", exclude_defaults=True),
                    "parental": {
                        "maturity_level": limits.maturity_level,
                        "blocked_genres": limits.blocked_genres,
                    },
                },
                # Those with one order share one answer.
                user_id=asker.subject if asker else None,
                variant=variant,
                explain=request.explain,
                ranking_version=self._book.version,
                generation=self._generation.current,
            )
        )
