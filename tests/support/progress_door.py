"""An operator's progress door for the tests of what reports to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PATH = "/v1/progress/films-ns/films"


@dataclass
class Operator:
    """Takes reports."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    @property
    def final(self) -> dict[str, Any]:
        """The last report, which says that it is."""
        (found,) = [body for body in self.bodies if body["final"]]
        assert found is self.bodies[-1]
        return found

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.tokens.append(request.headers.get("Authorization"))
        return web.Response(status=204)


@asynccontextmanager
async def listening(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server whose one route is the job's; gives the route's URL."""
    app = web.Application()
    app.router.add_post(PATH, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}{PATH}"
    finally:
        await runner.cleanup()
