"""Reading the catalogue: one content, what is like it, where it can be watched, what is in demand. Called by the routes."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Final
from uuid import UUID

from media_gateway.core.domain.vectors import VectorFilter
from media_gateway.core.ports.vectors import VectorIndex
from media_gateway.discovery.decay import Window
from media_gateway.discovery.documents import (
    ContentDetails,
    Expiring,
    ListedOffering,
    Neighbour,
    Popular,
    Trend,
)
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.neighbours import alike
from media_gateway.discovery.store import CatalogueReader, OfferingFilter
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.trending import EQUAL_COUNT, Question, TrendBoard

NEIGHBOURS: Final = 200
"""Contents compared with one of which the like are asked for."""


class CatalogueService:
    """What can be asked of the catalogue without searching it.

    Parameters
    ----------
    threads
        Where the index is asked, beside the event loop.
    """

    def __init__(
        self,
        catalogue: CatalogueReader,
        trends: TrendBoard,
        index: TextIndex,
        vectors: VectorIndex,
        threads: Executor,
    ) -> None:
        self._catalogue = catalogue
        self._trends = trends
        self._index = index
        self._vectors = vectors
        self._threads = threads

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

    async def similar(
        self, content_id: UUID, where: SearchFilter, *, limit: int
    ) -> tuple[UUID, list[Neighbour]]:
        """The content's present id and what is most like it, best first.

        Candidates are those nearest in meaning and those that share names, genres and keywords. A content without a vector
        has only the latter.

        Raises
        ------
        NotFoundError
            As `content`.
        """
        current = await self._catalogue.current_id(content_id)
        similarities = await self._nearest(current)
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._alike, current, similarities, where
        )
        return current, found[:limit]

    async def expiring(
        self, *, days: int, limit: int, region: str | None, platform: str | None
    ) -> list[Expiring]:
        """Offerings that end within so many days, the soonest first."""
        return await self._catalogue.expiring(days=days, limit=limit, region=region, platform=platform)

    async def popular(self, where: SearchFilter, *, window: Window | None, limit: int) -> list[Popular]:
        """The most popular of all that passes the filter: of all time, or by what people do in a window and the filter's region.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            A window was given, and the database can't be reached.
        """
        counts = await self._trends.counts(window, where.region) if window else {}
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._popular, where, counts, limit
        )

    async def trending(self, question: Question) -> list[Trend]:
        """What is in demand now, best first; `trending.FRESH_S` seconds old at most.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached.
        """
        return await self._trends.trending(question)

    def genres(self) -> dict[str, int]:
        """The genres of the catalogue, the most frequent first, and how many contents have them."""
        return self._index.values("genre")

    async def _nearest(self, content_id: UUID) -> dict[UUID, float]:
        vector = (await self._vectors.fetch([content_id])).get(content_id)
        if vector is None:
            return {}
        where = VectorFilter(exclude_ids=(content_id,))
        hits = await self._vectors.search(vector, top_k=NEIGHBOURS, where=where)
        return {hit.content_id: hit.similarity for hit in hits}

    def _alike(
        self, content_id: UUID, similarities: dict[UUID, float], where: SearchFilter
    ) -> list[Neighbour]:
        one = self._index.contents([content_id]).get(content_id)
        if one is None:
            return []
        passing = self._index.passing(list(similarities), where)
        ids = dict.fromkeys((*passing, *self._index.sharing(one, where, limit=NEIGHBOURS)))
        ids.pop(content_id, None)
        found = [
            Neighbour(other, *alike(one, other, similarities.get(other.content_id, 0.0)))
            for other in self._index.contents(list(ids)).values()
        ]
        return sorted(found, key=lambda one: (-one.similarity, -(one.content.popularity_score or 0.0)))

    def _popular(self, where: SearchFilter, counts: Mapping[UUID, float], limit: int) -> list[Popular]:
        passing = self._index.passing(list(counts), where) if counts else set()
        touched = [content_id for content_id in counts if content_id in passing]
        # What counts least among the first so many, and the most popularity can make of it: nobody below it comes in.
        least = counts[touched[limit - 1]] - EQUAL_COUNT if len(touched) >= limit else 0.0
        near = [content_id for content_id in touched if counts[content_id] >= least]
        ids = list(dict.fromkeys((*near, *self._index.popular(where, limit=limit))))
        contents = self._index.contents(ids)

        def popularity(one: Popular) -> float:
            counted = counts.get(one.content.content_id, 0.0)
            return (one.content.popularity_score or 0.0) + counted / EQUAL_COUNT

        found = [Popular(contents[one], active=one in counts) for one in ids if one in contents]
        # Equals stay in their order: that of activity, then the index's.
        return sorted(found, key=popularity, reverse=True)[:limit]
