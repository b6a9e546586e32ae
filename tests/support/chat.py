"""A language model that says what a test tells it to, behind OpenAI's wire format."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class Chat:
    """Answers with one JSON object.

    Attributes
    ----------
    asked : list[tuple[str, str | None]]
        The user's text of each request and its ``Authorization``.
    says : Any
        The content of the answer: an object, or a text as it is.
    response : web.Response | None
        Sent instead of an answer.
    hangs : bool
        Whether it answers after half a minute only.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.says: Any = {"confidence": 0}
        self.response: web.Response | None = None
        self.hangs = False

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["response_format"] == {"type": "json_object"}
        self.asked.append((body["messages"][1]["content"], request.headers.get("Authorization")))
        if self.hangs:
            await asyncio.sleep(30)
        if self.response is not None:
            return web.Response(status=self.response.status, text=self.response.text)
        content = self.says if isinstance(self.says, str) else json.dumps(self.says)
        return web.json_response({"choices": [{"message": {"role": "assistant", "content": content}}]})


@asynccontextmanager
async def running_chat(chat: Chat) -> AsyncIterator[str]:
    """The address of a model, for settings."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat.handle)
    async with TestServer(app, shutdown_timeout=0.1) as server:
        yield f"openai+http://{server.host}:{server.port}/v1?model=m"
