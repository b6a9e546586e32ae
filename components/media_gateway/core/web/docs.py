"""``/openapi.json`` and ``/docs``: the component's document, and a page that shows it without any other server."""

from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from typing import Any, Protocol

import orjson
from aiohttp import web

from media_gateway.core.web.openapi import make_document
from media_gateway.core.web.routing import Auth, Route, RouteTable

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: its own files, and calls to its own server, nothing else."""

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class Document:
    """The OpenAPI document of an application, made at first use: a process that nobody asks does not pay for it."""

    def __init__(self, name: str, summary: str, routes: Sequence[Route]) -> None:
        self._name = name
        self._summary = summary
        self._routes = routes

    @cached_property
    def made(self) -> dict[str, Any]:
        """The document; not to be changed."""
        return make_document(self._name, self._summary, self._routes)

    @cached_property
    def _json(self) -> bytes:
        return orjson.dumps(self.made)

    async def json(self) -> bytes:
        """The document as JSON."""
        return self._json


class Shown(Protocol):
    """What is shown as the document of an application."""

    async def json(self) -> bytes:
        """An OpenAPI document as JSON."""


DOCUMENT = web.AppKey("openapi", Shown)
"""The application's document."""

docs_routes = RouteTable(tag="docs")


@docs_routes.get("/openapi.json", auth=Auth.NONE, limits=None, hidden=True)
async def openapi_json(request: web.Request) -> web.Response:
    """The document."""
    return web.Response(body=await request.app[DOCUMENT].json(), content_type="application/json")


@docs_routes.get("/docs", auth=Auth.NONE, limits=None, hidden=True)
async def page(_request: web.Request) -> web.Response:
    """The page."""
    return _static("html")


@docs_routes.get("/docs/docs.css", auth=Auth.NONE, limits=None, hidden=True)
async def style(_request: web.Request) -> web.Response:
    """Its style."""
    return _static("css")


@docs_routes.get("/docs/docs.js", auth=Auth.NONE, limits=None, hidden=True)
async def script(_request: web.Request) -> web.Response:
    """Its script."""
    return _static("js")


def _static(kind: str) -> web.Response:
    body = resources.files(__package__).joinpath("static", f"docs.{kind}").read_bytes()
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    return web.Response(body=body, content_type=_TYPES[kind], charset="utf-8", headers=headers)
