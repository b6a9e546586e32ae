"""Reading the catalogue: one content, what is like it, where it can be watched, what is in demand. Called by the routes."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from uuid import UUID

from media_gateway.discovery.documents import (
    ContentDetails,
    Expiring,
    IndexedContent,
    ListedOffering,
    Neighbour,
    Trend,
)
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.platforms import check_platforms
from media_gateway.discovery.services.neighbourhood import Neighbourhood
from media_gateway.discovery.store import CatalogueReader, OfferingFilter
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.trending import TrendBoard


class CatalogueService:
    """What can be asked of the catalogue without searching it.

    Parameters
    ----------
    threads
        Where the index is asked, beside the event loop.
    is_whole
        Whether the index holds all of the catalogue.
    """

    def __init__(
        self,
        catalogue: CatalogueReader,
        index: TextIndex,
        neighbourhood: Neighbourhood,
        threads: Executor,
        is_whole: Callable[[], bool],
    ) -> None:
        self._catalogue = catalogue
        self._trends = TrendBoard(catalogue)
        self._index = index
        self._neighbourhood = neighbourhood
        self._threads = threads
        self._is_whole = is_whole

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

        Raises
        ------
        NotFoundError
            As `content`.
        InvalidInputError
            No content is offered by the platform that the filter names.
        """
        self._check_platform(next(iter(where.platforms_any), None))
        current = await self._catalogue.current_id(content_id)
        found, _ = await self._neighbourhood.of(current, where)
        return current, found[:limit]

    async def expiring(
        self, *, days: int, limit: int, region: str | None, platform: str | None
    ) -> list[Expiring]:
        """Offerings that end within so many days, the soonest first.

        Raises
        ------
        InvalidInputError
            No content is offered by the platform.
        """
        self._check_platform(platform)
        return await self._catalogue.expiring(days=days, limit=limit, region=region, platform=platform)

    async def popular(self, where: SearchFilter, *, limit: int) -> list[IndexedContent]:
        """The most popular of all that passes the filter.

        Raises
        ------
        InvalidInputError
            No content is offered by the platform that the filter names.
        """
        self._check_platform(next(iter(where.platforms_any), None))
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._popular, where, limit)

    async def trending(self, *, limit: int, region: str | None, content_type: str | None) -> list[Trend]:
        """What is in demand now, best first; `trending.FRESH_S` seconds old at most."""
        return await self._trends.trending(limit=limit, region=region, content_type=content_type)

    async def permitted(self, content_ids: Sequence[UUID], where: SearchFilter) -> set[UUID]:
        """Those of the contents that pass the filter."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._index.passing, content_ids, where
        )

    def genres(self) -> dict[str, int]:
        """The genres of the catalogue, the most frequent first, and how many contents have them."""
        return self._index.values("genre")

    def _check_platform(self, asked: str | None) -> None:
        # An index that is not whole knows some platforms only.
        if asked is not None and self._is_whole():
            check_platforms({"platform": asked}, self._index)

    def _popular(self, where: SearchFilter, limit: int) -> list[IndexedContent]:
        ids = self._index.popular(where, limit=limit)
        contents = self._index.contents(ids)
        return [contents[content_id] for content_id in ids if content_id in contents]
