"""A small component with one route of every kind, for tests of the web kit. Run as a module it is a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
from aiohttp import web
from pydantic import Field, SecretStr

from media_gateway.core.errors import NotFoundError, RateLimitedError, UnavailableError
from media_gateway.core.settings import CoreSettings
from media_gateway.core.web import (
    CALLER,
    Auth,
    Component,
    Context,
    RouteTable,
    RunningComponent,
    Wire,
    respond,
    run_component,
    start_component,
)

SECRET = "a secret of the tests, at least thirty-two bytes long"


class Flavour(StrEnum):
    SWEET = "sweet"
    SALTY = "salty"


class Part(Wire):
    name: Annotated[str, Field(min_length=1, max_length=50)]
    parts: list["Part"] = Field(default=[])


class Order(Wire):
    """What to echo."""

    title: str = Field(max_length=100, examples=["Alien"])
    amount: int = 1
    price: float | None = None
    flavour: Flavour = Flavour.SWEET
    when: date | None = None
    tree: Part | None = None
    extra: dict[str, Any] = Field(default={})


class ThingPath(Wire):
    thing_id: UUID


class ThingQuery(Wire):
    limit: int = Field(default=10, ge=1, le=100)
    after: int | None = None
    ratio: float | None = None
    text: str | None = Field(default=None, max_length=50)
    genre: list[str] | None = None


class Thing(Wire):
    thing_id: UUID
    query: ThingQuery


class Who(Wire):
    subject: str | None


class Wait(Wire):
    ms: int = Field(ge=0, le=60_000)


routes = RouteTable(tag="echo")

STARTED = web.AppKey("started", asyncio.Event)
FREED = web.AppKey("freed", asyncio.Event)
GO_ON = web.AppKey("go_on", asyncio.Event)


@routes.post("/api/v1/orders", body=Order, returns=Order, status=201, summary="Echo an order")
async def order(_request: web.Request, body: Order) -> Order:
    return body


@routes.get(
    "/api/v1/things/{thing_id}", path=ThingPath, query=ThingQuery, returns=Thing, summary="Echo a thing"
)
async def thing(_request: web.Request, path: ThingPath, query: ThingQuery) -> Thing:
    return Thing(thing_id=path.thing_id, query=query)


@routes.delete("/api/v1/things/{thing_id}", path=ThingPath, auth=Auth.scope("admin"))
async def remove(_request: web.Request, path: ThingPath) -> None:
    raise NotFoundError(f"there is no thing {path.thing_id}")


@routes.post("/api/v1/raw", raw_body=True, auth=Auth.NONE, body_limit_bytes=100)
async def raw(_request: web.Request, body: bytes) -> web.Response:
    return web.Response(body=body)


@routes.get("/api/v1/who", returns=Who)
async def who(request: web.Request) -> Who:
    caller = request.get(CALLER)
    return Who(subject=caller.subject if caller else None)


@routes.get("/api/v1/me", returns=Who, auth=Auth.REQUIRED)
async def me(request: web.Request) -> Who:
    return Who(subject=request[CALLER].subject)


@routes.get("/api/v1/wait", hidden=True)
async def wait(request: web.Request) -> web.Response:
    """Holds on until the test lets it go."""
    request.app[STARTED].set()
    try:
        await request.app[GO_ON].wait()
    except asyncio.CancelledError:
        request.app[FREED].set()
        raise
    return respond(Who(subject="waited"))


@routes.get("/api/v1/sleep", query=Wait, hidden=True)
async def sleep(_request: web.Request, query: Wait) -> Who:
    await asyncio.sleep(query.ms / 1000)
    return Who(subject="slept")


@routes.get("/api/v1/broken", hidden=True)
async def broken(_request: web.Request) -> Who:
    raise ZeroDivisionError("the password is hunter2")


@routes.get("/api/v1/half", hidden=True)
async def half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 100
    await response.prepare(request)
    await response.write(b"half of it")
    raise ZeroDivisionError


@routes.get("/api/v1/busy", hidden=True)
async def busy(_request: web.Request) -> Who:
    raise RateLimitedError("too many orders", retry_after_ms=1500, details={"limit": 10, "status": "no"})


@routes.get("/api/v1/away", hidden=True)
async def away(_request: web.Request) -> Who:
    raise UnavailableError("the kitchen is closed")


@asynccontextmanager
async def wire(context: Context) -> AsyncIterator[None]:
    for key in (STARTED, FREED, GO_ON):
        context.app[key] = asyncio.Event()
    yield


COMPONENT = Component(
    name="echo",
    port=18099,
    settings=CoreSettings,
    routes=(routes,),
    wire=wire,
    summary="Echoes what it is sent.",
)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[RunningComponent, aiohttp.ClientSession]]:
    """The component on a free port and a session that calls it."""
    running = await start_component(
        COMPONENT, CoreSettings(auth_secret=SecretStr(SECRET), **settings), port=0
    )
    try:
        async with aiohttp.ClientSession(running.url) as session:
            yield running, session
    finally:
        running.app[GO_ON].set()
        await running.drain()


async def send_raw(url: str, data: bytes) -> bytes:
    """Everything a server answers to bytes that no client library would send, until it closes the connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 15)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


if __name__ == "__main__":
    run_component(COMPONENT)
