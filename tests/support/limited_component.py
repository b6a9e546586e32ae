"""A small component with limited routes of every kind, for tests of rate limits over HTTP."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from media_gateway.core.errors import MediaGatewayError, UnauthenticatedError
from media_gateway.core.limiting import ClientKind, LimitDocument, read_document
from media_gateway.core.settings import CoreSettings
from media_gateway.core.web import (
    CLIENT_KINDS,
    Auth,
    ClientKinds,
    Component,
    Context,
    Limits,
    RouteTable,
    RunningComponent,
    Wire,
    start_component,
)
from tests.support.echo_component import FREED, GO_ON, SECRET, STARTED, Who, wait, wire as wire_echo

KINDS = {"shop": ClientKind.CONFIDENTIAL, "tv": ClientKind.SHARED}
CODE = "urn:ietf:params:oauth:grant-type:device_code"

routes = RouteTable(tag="limited")


class TokenForm(Wire):
    client_id: str | None = None
    client_secret: str | None = None
    grant_type: str | None = None


def oauth_shape(error: MediaGatewayError) -> web.Response:
    status = {"rate_limited": 429, "unauthenticated": 401, "unavailable": 503}.get(error.code, 400)
    return web.json_response({"error": error.code}, status=status)


def by_grant(form: Mapping[str, str]) -> str:
    return "poll" if form.get("grant_type") == CODE else "token"


@routes.post(
    "/token",
    form=TokenForm,
    returns=Who,
    auth=Auth.NONE,
    limits=Limits(choose=by_grant),
    answer_error=oauth_shape,
)
async def token(_request: web.Request, form: TokenForm) -> Who:
    if form.client_id == "shop" and form.client_secret != "right":
        raise UnauthenticatedError("the secret is wrong")
    return Who(subject=form.client_id)


@routes.get("/search", returns=Who)
async def search(_request: web.Request) -> Who:
    return Who(subject="found")


@routes.get("/unlimited", returns=Who, limits=None)
async def unlimited(_request: web.Request) -> Who:
    return Who(subject="free")


@routes.get("/mine", returns=Who, auth=Auth.REQUIRED, limits=Limits("search"))
async def mine(_request: web.Request) -> Who:
    return Who(subject="mine")


routes.get("/wait", hidden=True)(wait)


async def kind_of(client_id: str) -> ClientKind:
    return KINDS.get(client_id, ClientKind.UNKNOWN)


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[None]:
    context.app[CLIENT_KINDS] = ClientKinds(kind_of)
    async with wire_echo(context):
        yield


def limit(name: str, rates: Mapping[int, int], **more: Any) -> dict[str, Any]:
    """A limit of the component as a document has it; ``rates`` are limits by window in milliseconds."""
    return {
        "name": name,
        "component": "limited",
        "algorithm": "SlidingWindow",
        "rates": [{"limit": most, "windowMs": window} for window, most in rates.items()],
        **more,
    }


def document(*limits: Mapping[str, Any], **more: Any) -> LimitDocument:
    return read_document(json.dumps({"limits": limits, **more}).encode())


@asynccontextmanager
async def limited(
    redis_url: str, built_in: LimitDocument, **settings: Any
) -> AsyncIterator[tuple[RunningComponent, aiohttp.ClientSession]]:
    """The component on a free port and a session that calls it."""
    component = Component(
        name="limited",
        port=18098,
        settings=CoreSettings,
        needs=frozenset({"redis"}),
        critical=frozenset(),
        routes=(routes,),
        wire=wire,
        limits=lambda _settings: built_in,
    )
    # Ten times the usual patience: the machine of the tests is busy even while Redis is well.
    given = {"ratelimit_timeout_ms": 1_000, **settings}
    running = await start_component(
        component,
        CoreSettings(auth_secret=SecretStr(SECRET), redis_url=SecretStr(redis_url), **given),
        port=0,
    )
    try:
        async with aiohttp.ClientSession(running.url) as session:
            yield running, session
    finally:
        running.app[GO_ON].set()
        await running.drain()


__all__ = ["CODE", "FREED", "GO_ON", "SECRET", "STARTED", "document", "limit", "limited"]
