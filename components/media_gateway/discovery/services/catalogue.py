"""Reading the catalogue: one content, what is like it, where it can be watched, what is in demand. Called by the routes."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from uuid import UUID

from media_gateway.core.errors import PermissionDeniedError
from media_gateway.discovery.decay import Window
from media_gateway.discovery.documents import (
    ContentDetails,
    Expiring,
    ListedOffering,
    Neighbour,
    Popular,
    Trend,
)
from media_gateway.discovery.filters import ParentalLimits, SearchFilter
from media_gateway.discovery.platforms import check_platforms
from media_gateway.discovery.services.neighbourhood import Neighbourhood
from media_gateway.discovery.store import CatalogueReader, OfferingFilter
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.trending import EQUAL_COUNT, Question, TrendBoard

L = TypeVar("L", Expiring, Trend)

MOST: Final = 100
"""Longest list: what a profile may not see is taken out of so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueParts:
    """What reading the catalogue works with.

    Attributes
    ----------
    threads : Executor
        Where the index is asked, beside the event loop.
    is_whole : Callable[[], bool]
        Whether the index holds all of the catalogue.
    """

    catalogue: CatalogueReader
    trends: TrendBoard
    index: TextIndex
    neighbourhood: Neighbourhood
    threads: Executor
    is_whole: Callable[[], bool]


class CatalogueService:
    """What can be asked of the catalogue without searching it."""

    def __init__(self, parts: CatalogueParts) -> None:
        self._catalogue = parts.catalogue
        self._trends = parts.trends
        self._index = parts.index
        self._neighbourhood = parts.neighbourhood
        self._threads = parts.threads
        self._is_whole = parts.is_whole

    async def content(self, content_id: UUID, limits: ParentalLimits) -> ContentDetails:
        """Everything about a content; an id that was merged away gives the content that took it in.

        Raises
        ------
        NotFoundError
            There is no such content; `store.ContentRemovedError` if there was.
        PermissionDeniedError
            The profile's limits leave it out.
        """
        found = await self._catalogue.details(content_id)
        if not limits.allow(found.content.maturity_rating, found.content.genres or ()):
            raise PermissionDeniedError("the limits of this profile leave the content out")
        return found

    async def availability(
        self, content_id: UUID, wanted: OfferingFilter, limits: ParentalLimits
    ) -> tuple[UUID, list[ListedOffering]]:
        """The content's present id and where it can be watched.

        Raises
        ------
        NotFoundError, PermissionDeniedError
            As `content`.
        """
        if not limits.allow_everything:
            await self.content(content_id, limits)
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
        self, *, days: int, limit: int, region: str | None, platform: str | None, permitted: SearchFilter
    ) -> list[Expiring]:
        """Offerings of permitted contents that end within so many days, the soonest first.

        Raises
        ------
        InvalidInputError
            No content is offered by the platform.
        """
        self._check_platform(platform)
        read = limit if permitted.asks_nothing else MOST
        found = await self._catalogue.expiring(days=days, limit=read, region=region, platform=platform)
        return (await self._only(found, permitted))[:limit]

    async def popular(self, where: SearchFilter, *, window: Window | None, limit: int) -> list[Popular]:
        """The most popular of all that passes the filter: of all time, or by what people do in a window and the filter's region.

        Raises
        ------
        InvalidInputError
            No content is offered by the platform that the filter names.
        UnavailableError, DeadlineExceededError
            A window was given, and the database can't be reached.
        """
        self._check_platform(next(iter(where.platforms_any), None))
        counts = await self._trends.counts(window, where.region) if window else {}
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._popular, where, counts, limit
        )

    async def trending(self, question: Question, permitted: SearchFilter) -> list[Trend]:
        """What of the permitted is in demand now, best first; `trending.FRESH_S` seconds old at most.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached.
        """
        asked = question if permitted.asks_nothing else replace(question, limit=MOST)
        found = await self._trends.trending(asked)
        return (await self._only(found, permitted))[: question.limit]

    async def permitted(self, content_ids: Sequence[UUID], where: SearchFilter) -> set[UUID]:
        """Those of the contents that pass the filter."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._index.passing, content_ids, where
        )

    async def _only(self, found: list[L], where: SearchFilter) -> list[L]:
        if where.asks_nothing:
            return found
        passing = await self.permitted([one.content.content_id for one in found], where)
        return [one for one in found if one.content.content_id in passing]

    def genres(self) -> dict[str, int]:
        """The genres of the catalogue, the most frequent first, and how many contents have them."""
        return self._index.values("genre")

    def _check_platform(self, asked: str | None) -> None:
        # An index that is not whole knows some platforms only.
        if asked is not None and self._is_whole():
            check_platforms({"platform": asked}, self._index)

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
