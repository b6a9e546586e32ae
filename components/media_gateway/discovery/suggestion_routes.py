"""Autocompletion over HTTP: parse, one call, answer."""

from aiohttp import web

from media_gateway.core.web import Auth, RouteTable
from media_gateway.discovery.suggestion_schemas import AutocompleteQuery, AutocompleteResponse
from media_gateway.discovery.suggestions import Suggestions

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
    return AutocompleteResponse.from_domain(query.q, request.app[SUGGESTIONS].suggest(query.q, query.limit))
