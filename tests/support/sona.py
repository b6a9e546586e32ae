"""What discovery knows of sona, until there is one: its scoring operation, answering as a test tells it to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class Sona:
    """Likes a content the more, the later it is in the request, unless told otherwise.

    Attributes
    ----------
    asked : list[tuple[list[str], str | None]]
        The contents of each request and its ``Authorization``.
    answer : Any
        Sent instead of scores.
    hangs : bool
        Whether it answers after half a minute only.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], str | None]] = []
        self.answer: Any = None
        self.hangs = False

    async def handle(self, request: web.Request) -> web.Response:
        ids = (await request.json())["content_ids"]
        self.asked.append((ids, request.headers.get("Authorization")))
        if self.hangs:
            await asyncio.sleep(30)
        if self.answer is not None:
            return web.json_response(self.answer)
        liked = [{"content_id": one, "score": place / 1000} for place, one in enumerate(ids)]
        return web.json_response({"scores": liked})


@asynccontextmanager
async def running_sona(sona: Sona) -> AsyncIterator[str]:
    """The address of a sona."""
    app = web.Application()
    app.router.add_post("/api/v1/personalization/score", sona.handle)
    async with TestServer(app, shutdown_timeout=0.1) as server:
        yield f"http://{server.host}:{server.port}"
