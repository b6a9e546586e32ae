"""HTTP operations about what people do with answers (clicks), and how the search route notes a search."""

from aiohttp import hdrs, web

from media_gateway.core.web import CALLER, Auth, RouteTable, source_of
from media_gateway.discovery.activity_schemas import ClickRequest
from media_gateway.discovery.analytics import Analytics
from media_gateway.discovery.search_events import ClickEvent, Searcher

ANALYTICS = web.AppKey("search_analytics", Analytics)

AGENT_LENGTH = 200
"""Characters of a user agent that count: what tells two apart stands in front."""

activity_routes = RouteTable(tag="discovery")


@activity_routes.post(
    "/api/v1/search/clicks",
    body=ClickRequest,
    status=202,
    auth=Auth.OPTIONAL,
    summary="Tell which result was chosen",
)
async def click(request: web.Request, body: ClickRequest) -> None:
    """Sent again it changes nothing. It counts for what is trending, and with a token towards the user's taste."""
    request.app[ANALYTICS].record_click(
        ClickEvent(
            search_id=body.search_id,
            content_id=body.content_id,
            position=body.position,
            searcher=searcher_of(request),
            region=body.region,
        )
    )


def searcher_of(request: web.Request) -> Searcher:
    """Who sends a request: the user, else what tells callers without a token apart.

    The address is that which the trusted proxies in front tell; another one could be made up. Callers without a token who
    share it differ by user agent alone, so fewer are told apart than there are, and fewer queries pass as popular.
    """
    caller = request.get(CALLER)
    if caller is not None:
        return Searcher(subject=caller.subject)
    agent = request.headers.get(hdrs.USER_AGENT, "")[:AGENT_LENGTH]
    return Searcher(client=f"{source_of(request)} {agent}")
