"""Autocompletion over HTTP: parse, one call, answer."""

from aiohttp import web

from media_gateway.core.web import Auth, RouteTable
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.profiles import limits_of
from media_gateway.discovery.routes import CATALOGUE
from media_gateway.discovery.suggestion_schemas import AutocompleteQuery, AutocompleteResponse
from media_gateway.discovery.suggestions import Suggestions

LOOKED_AT = 100
"""Suggestions of which those are shown that the caller's profile may see."""

SUGGESTIONS = web.AppKey("suggestions", Suggestions)

suggestion_routes = RouteTable(tag="discovery")


@suggestion_routes.get(
    "/api/v1/search/autocomplete",
    query=AutocompleteQuery,
    returns=AutocompleteResponse,
    auth=Auth.OPTIONAL,
    summary="What the typed text may become",
)
async def autocomplete(request: web.Request, query: AutocompleteQuery) -> AutocompleteResponse:
    """First what starts with the typed text, then what has it at a later word, or each of its words; else what is meant.

    In each of these by popularity; typing errors are looked for if nothing has the text as it is. Ask at every keystroke.
    """
    # On the event loop: it takes less time than handing it to a thread.
    suggest, where = request.app[SUGGESTIONS].suggest, SearchFilter().limited(limits_of(request))
    if where.asks_nothing:
        return AutocompleteResponse.from_domain(query.q, suggest(query.q, query.limit))
    found = suggest(query.q, LOOKED_AT)
    ids = [one.content_id for one in found if one.content_id is not None]
    permitted = await request.app[CATALOGUE].permitted(ids, where)
    shown = [one for one in found if one.content_id is None or one.content_id in permitted]
    return AutocompleteResponse.from_domain(query.q, shown[: query.limit])
