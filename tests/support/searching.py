"""Searches of a text index by the service itself, without vectors, for tests that judge an order."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from media_gateway.core.errors import UnavailableError
from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.legs import TextLeg, TitleLeg
from media_gateway.discovery.model_reader import ModelReader
from media_gateway.discovery.personalisation import PersonalOrder
from media_gateway.discovery.ranking import BUILT_IN, DEFAULT
from media_gateway.discovery.reranking import SHIPPED, Reranker, RerankingModel
from media_gateway.discovery.services.neighbourhood import Neighbourhood
from media_gateway.discovery.services.reading import QueryReading
from media_gateway.discovery.services.search import SearchParts, SearchQuery, SearchResult, SearchService
from media_gateway.discovery.suggestions import Spelling, Suggestions
from media_gateway.discovery.text_index import TextIndex, analyse, match_reasons
from media_gateway.discovery.text_index.schema import wording_of

EVERYTHING = SearchFilter()


class NoVectors:
    """A vector store that is away."""

    def __getattr__(self, _name: str) -> Any:
        raise UnavailableError("there are no vectors here")


def service_over(
    index: TextIndex,
    legs: Sequence[Any],
    threads: Executor,
    *,
    vectors: Any = None,
    model: ModelReader | None = None,
    personal: PersonalOrder | None = None,
) -> SearchService:
    """A search service over a whole index."""
    no_vectors: Any = NoVectors()
    return SearchService(
        SearchParts(
            legs=legs,
            index=index,
            reading=QueryReading(index, threads, model),
            neighbourhood=Neighbourhood(index, vectors or no_vectors, threads),
            reranker=Reranker(index, RerankingModel.read(SHIPPED)),
            spelling=Spelling(Suggestions(), index.frequency),
            personal=personal,
            threads=threads,
            is_whole=lambda: True,
        )
    )


def search(
    index: TextIndex, text: str, where: SearchFilter = EVERYTHING, *, limit: int = 20
) -> tuple[SearchResult, ...]:
    """The first page of what words and titles find."""
    query = SearchQuery(text=text, where=where, page=1, page_size=limit)
    with ThreadPoolExecutor(1) as threads:
        legs = (TextLeg(index, threads), TitleLeg(index, threads))
        service = service_over(index, legs, threads)
        return asyncio.run(service.search(query, BUILT_IN[DEFAULT])).results


def titles(index: TextIndex, text: str, where: SearchFilter = EVERYTHING, *, limit: int = 20) -> list[str]:
    """The titles of that page."""
    return [result.content.title for result in search(index, text, where, limit=limit)]


def why(query: str, content: IndexedContent) -> list[str]:
    """Why the content would be found."""
    return match_reasons(analyse(query), content, wording_of(content))
