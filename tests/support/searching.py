"""Searches of a text index by the service itself, without vectors, for tests that judge an order."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.legs import TextLeg, TitleLeg
from media_gateway.discovery.ranking import BUILT_IN, DEFAULT
from media_gateway.discovery.services.search import SearchQuery, SearchResult, SearchService
from media_gateway.discovery.text_index import TextIndex

EVERYTHING = SearchFilter()


def search(
    index: TextIndex, text: str, where: SearchFilter = EVERYTHING, *, limit: int = 20
) -> tuple[SearchResult, ...]:
    """The first page of what words and titles find."""
    query = SearchQuery(text=text, where=where, page=1, page_size=limit)
    with ThreadPoolExecutor(1) as threads:
        legs = (TextLeg(index, threads), TitleLeg(index, threads))
        service = SearchService(legs, index, threads, is_whole=lambda: True)
        return asyncio.run(service.search(query, BUILT_IN[DEFAULT])).results


def titles(index: TextIndex, text: str, where: SearchFilter = EVERYTHING, *, limit: int = 20) -> list[str]:
    """The titles of that page."""
    return [result.content.title for result in search(index, text, where, limit=limit)]
