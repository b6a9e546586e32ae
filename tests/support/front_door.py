"""A running gateway before a service of the tests that tells what it was asked, and can be made to misbehave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from media_gateway.core.tokens import mint_token
from media_gateway.core.web import start_component
from media_gateway.gateway.app import COMPONENT
from media_gateway.gateway.settings import Settings
from tests.support.servers import unused_port

SECRET = "a secret of the tests, at least thirty-two bytes long"


def bearer(*scopes: str, subject: str = "ana", tier: str = "free") -> dict[str, str]:
    """The header of a caller with a good token."""
    token = mint_token(SECRET, subject, scopes=frozenset(scopes), tier=tier)
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Service:
    """A service behind the gateway.

    Its answer to anything is what it was asked, as JSON; ``answer`` replaces that. ``asked`` counts.
    """

    url: str
    answer: Any = None
    asked: list[str] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path if hasattr(request, "raw_path") else request.path_qs)
        if self.answer is not None:
            try:
                answered: web.StreamResponse = await self.answer(request)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return answered
        body = await request.read()
        return web.json_response(
            {
                "method": request.method,
                "target": request._message.path,
                "headers": [[name.lower(), value] for name, value in request.headers.items()],
                "length": len(body),
                "body": body[:1000].decode(errors="replace"),
            }
        )


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    """Listen on a free port."""
    app = web.Application(client_max_size=1 << 30)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    port = unused_port()
    one = Service(f"http://127.0.0.1:{port}")
    app.router.add_route("*", "/{rest:.*}", one.handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield one
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gateway(redis_url: str, **settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A gateway on a free port and a session that calls it; its limits refuse nothing unless they are what is tested."""
    settings = {"ratelimit_dry_run": True, **settings}
    running = await start_component(
        COMPONENT,
        Settings(auth_secret=SecretStr(SECRET), redis_url=SecretStr(redis_url), **settings),
        port=0,
    )
    try:
        async with aiohttp.ClientSession(running.url, auto_decompress=False) as session:
            yield session
    finally:
        await running.drain()
