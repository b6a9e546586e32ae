"""A declared route as an aiohttp handler: parse, call, answer. Runs inside all middlewares."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from media_gateway.core.web.parsing import (
    check_form_type,
    check_media_type,
    parse_form,
    parse_json,
    parse_path,
    parse_query,
    read_body,
)
from media_gateway.core.web.routing import Route
from media_gateway.core.web.schemas import to_bytes


def respond(
    model: BaseModel | None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A model as a JSON answer, for handlers that choose status or headers themselves; None gives an empty answer."""
    if model is None:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=to_bytes(model), content_type="application/json", headers=headers)


def make_endpoint(
    route: Route, default_limit_bytes: int
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route.

    Parameters
    ----------
    default_limit_bytes
        Largest body if the route names no limit of its own, in bytes.
    """
    limit_bytes = route.body_limit_bytes or default_limit_bytes
    empty_status = 204 if route.status == 200 else route.status

    async def endpoint(request: web.Request) -> web.StreamResponse:
        passed: dict[str, Any] = {}
        if route.path_model is not None:
            passed["path"] = parse_path(route.path_model, request.match_info)
        if route.query is not None:
            passed["query"] = parse_query(route.query, request.rel_url.raw_query_string)
        if route.raw_body:
            passed["body"] = await read_body(request, limit_bytes)
        elif route.body is not None:
            check_media_type(request)
            passed["body"] = parse_json(route.body, await read_body(request, limit_bytes))
        elif route.form is not None:
            check_form_type(request)
            passed["form"] = parse_form(route.form, await read_body(request, limit_bytes))
        answer = await route.handler(request, **passed)
        if isinstance(answer, web.StreamResponse):
            return answer
        return respond(answer, status=empty_status if answer is None else route.status)

    return endpoint
