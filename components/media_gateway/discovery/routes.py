"""HTTP operations of discovery: parse, one service call, answer."""

import time
from typing import cast

from aiohttp import hdrs, web

from media_gateway.core.web import CALLER, Auth, RouteTable
from media_gateway.discovery.activity_routes import ANALYTICS, searcher_of
from media_gateway.discovery.activity_schemas import SEARCH_ID
from media_gateway.discovery.answers import KnownSearcher, SearchAnswers
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.personalisation import Asker
from media_gateway.discovery.profiles import limits_from, limits_of
from media_gateway.discovery.ranking_book import RankingBook
from media_gateway.discovery.schemas import (
    AvailabilityQuery,
    AvailabilityResponse,
    ContentPath,
    ContentView,
    ExpiringQuery,
    ExpiringResponse,
    GenreCount,
    GenresResponse,
    PopularQuery,
    PopularResponse,
    SimilarResponse,
    TrendingQuery,
    TrendingResponse,
    WantedQuery,
)
from media_gateway.discovery.search_events import CacheState, SearchEvent
from media_gateway.discovery.search_schemas import SearchRequest, SearchResponse
from media_gateway.discovery.services.catalogue import CatalogueService

ANSWERS = web.AppKey("search_answers", SearchAnswers)
CATALOGUE = web.AppKey("catalogue", CatalogueService)
RANKING_BOOK = web.AppKey("ranking_book", RankingBook)

routes = RouteTable(tag="discovery")


@routes.post(
    "/api/v1/search",
    body=SearchRequest,
    returns=SearchResponse,
    auth=Auth.OPTIONAL,
    summary="Search the catalogue",
)
async def search(request: web.Request, body: SearchRequest) -> web.Response:
    """Whole titles come first, then works of a person asked for by name, then a genre or time, then other matches.

    The header `X-Cache` says whether the answer was kept (`HIT`), is being renewed (`STALE`), was made now (`MISS`), or
    could not be looked up (`BYPASS`). The header `X-Search-Id` of the answer is what `/api/v1/search/clicks` wants to know of a choice.
    """
    started = time.perf_counter()
    variant = request.app[RANKING_BOOK].variant(body.variant)
    answer = await request.app[ANSWERS].answer(body, variant, known_searcher(request))
    event = SearchEvent(
        query=body.query,
        searcher=searcher_of(request),
        variant=variant.name,
        filters=body.filters.used(),
        result_count=answer.total,
        first_position=(body.page - 1) * body.page_size + 1,
        shown=answer.shown,
        latency_ms=round((time.perf_counter() - started) * 1000, 3),
        degraded=answer.degraded,
        cache=cast("CacheState", answer.state.lower()),
    )
    request.app[ANALYTICS].record(event)
    headers = {SEARCH_ID: str(event.search_id), "X-Cache": answer.state}
    return web.Response(body=answer.body, content_type="application/json", headers=headers)


def known_searcher(request: web.Request) -> KnownSearcher:
    """Who searches, for the order of results and for what may be among them."""
    caller = request.get(CALLER)
    if caller is None:
        return KnownSearcher()
    token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")[2].strip()
    return KnownSearcher(Asker(caller.subject, token), limits_from(caller.claims))


# Before the route with a variable in its place, which would take "trending" for an id.
@routes.get(
    "/api/v1/content/trending",
    query=TrendingQuery,
    returns=TrendingResponse,
    auth=Auth.OPTIONAL,
    summary="What is in demand now",
)
async def trending(request: web.Request, query: TrendingQuery) -> TrendingResponse:
    """What people do more with than usual, by clicks, watchlists and plays; where they do little, what the catalogue says.

    One person counts once a day for a content. The catalogue's word is popularity with age counted against it.
    """
    permitted = SearchFilter().limited(limits_of(request))
    trends = await request.app[CATALOGUE].trending(query.to_domain(), permitted)
    return TrendingResponse.from_domain(trends, query)


@routes.get(
    "/api/v1/content/popular",
    query=PopularQuery,
    returns=PopularResponse,
    auth=Auth.OPTIONAL,
    summary="What most people know, or most is done with",
)
async def popular(request: web.Request, query: PopularQuery) -> PopularResponse:
    """By popularity in the catalogue alone, whatever its age; with `window` by how much people do with it, usual or not."""
    where = query.to_domain().limited(limits_of(request))
    found = await request.app[CATALOGUE].popular(where, window=query.window, limit=query.limit)
    return PopularResponse.from_domain(found, query)


@routes.get(
    "/api/v1/content/expiring",
    query=ExpiringQuery,
    returns=ExpiringResponse,
    auth=Auth.OPTIONAL,
    summary="What is about to leave",
)
async def expiring(request: web.Request, query: ExpiringQuery) -> ExpiringResponse:
    """Offerings that end soon, each content once for each."""
    found = await request.app[CATALOGUE].expiring(
        days=query.days,
        limit=query.limit,
        region=query.region,
        platform=query.platform,
        permitted=SearchFilter().limited(limits_of(request)),
    )
    return ExpiringResponse.from_domain(found)


@routes.get(
    "/api/v1/content/{content_id}/similar",
    path=ContentPath,
    query=WantedQuery,
    returns=SimilarResponse,
    auth=Auth.OPTIONAL,
    summary="What is like a content",
)
async def similar(request: web.Request, path: ContentPath, query: WantedQuery) -> SimilarResponse:
    """Near in meaning, and of the same series, people, genres and keywords."""
    where = query.to_domain().limited(limits_of(request))
    found = await request.app[CATALOGUE].similar(path.content_id, where, limit=query.limit)
    return SimilarResponse.from_domain(*found)


@routes.get(
    "/api/v1/genres", returns=GenresResponse, auth=Auth.OPTIONAL, summary="The genres of the catalogue"
)
async def genres(request: web.Request) -> GenresResponse:
    """Those that any content has, with how many do."""
    counted = request.app[CATALOGUE].genres()
    return GenresResponse(genres=[GenreCount(genre=genre, count=count) for genre, count in counted.items()])


@routes.get(
    "/api/v1/content/{content_id}",
    path=ContentPath,
    returns=ContentView,
    auth=Auth.OPTIONAL,
    summary="Everything about a content",
)
async def content(request: web.Request, path: ContentPath) -> ContentView:
    """404 with code `not_found` for an id that never was, `content_removed` for one that is no more.

    403 where the limits of the caller's profile leave it out.
    """
    found = await request.app[CATALOGUE].content(path.content_id, limits_of(request))
    return ContentView.from_domain(found)


@routes.get(
    "/api/v1/content/{content_id}/availability",
    path=ContentPath,
    query=AvailabilityQuery,
    returns=AvailabilityResponse,
    auth=Auth.OPTIONAL,
    summary="Where a content can be watched",
)
async def availability(
    request: web.Request, path: ContentPath, query: AvailabilityQuery
) -> AvailabilityResponse:
    """Offerings in effect now, each with the source that lists it."""
    found = await request.app[CATALOGUE].availability(path.content_id, query.to_domain(), limits_of(request))
    return AvailabilityResponse.from_domain(*found)
