"""HTTP operations of discovery: parse, one service call, answer."""

from aiohttp import web

from media_gateway.core.web import Auth, RouteTable
from media_gateway.discovery.schemas import (
    AvailabilityQuery,
    AvailabilityResponse,
    ContentPath,
    ContentView,
    SearchRequest,
    SearchResponse,
    TrendingQuery,
    TrendingResponse,
)
from media_gateway.discovery.service import DiscoveryService

SERVICE = web.AppKey("discovery", DiscoveryService)

routes = RouteTable(tag="discovery")


@routes.post(
    "/api/v1/search",
    body=SearchRequest,
    returns=SearchResponse,
    auth=Auth.OPTIONAL,
    summary="Search the catalogue",
)
async def search(request: web.Request, body: SearchRequest) -> SearchResponse:
    """Whole titles come first, then works of a person asked for by name, then a genre or time, then other matches."""
    query = body.to_domain()
    return SearchResponse.from_domain(await request.app[SERVICE].search(query), query)


# Before the route with a variable in its place, which would take "trending" for an id.
@routes.get(
    "/api/v1/content/trending",
    query=TrendingQuery,
    returns=TrendingResponse,
    auth=Auth.OPTIONAL,
    summary="What is in demand now",
)
async def trending(request: web.Request, query: TrendingQuery) -> TrendingResponse:
    """Popularity with age counted against it."""
    trends = await request.app[SERVICE].trending(
        limit=query.limit, region=query.region, content_type=query.content_type
    )
    return TrendingResponse.from_domain(trends, query)


@routes.get(
    "/api/v1/content/{content_id}",
    path=ContentPath,
    returns=ContentView,
    auth=Auth.OPTIONAL,
    summary="Everything about a content",
)
async def content(request: web.Request, path: ContentPath) -> ContentView:
    """404 with code `not_found` for an id that never was, `content_removed` for one that is no more."""
    return ContentView.from_domain(await request.app[SERVICE].content(path.content_id))


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
    found = await request.app[SERVICE].availability(path.content_id, query.to_domain())
    return AvailabilityResponse.from_domain(*found)
