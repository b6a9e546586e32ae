"""An OpenAI-compatible embedding server of the tests' own, which can be told to hang or to fail."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.ingestion import WordEmbedder

Fault = Literal["hangs", "fails"]


class StubEmbedder:
    """Texts that share words are near each other."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        """Requests so far."""
        self._words = WordEmbedder()
        self._fault: Fault | None = None
        self._well = asyncio.Event()
        self._well.set()

    @contextmanager
    def faulty(self, fault: Fault) -> Iterator[None]:
        """It answers nothing, or 500 at once, until the end of the block."""
        self._fault = fault
        self._well.clear()
        try:
            yield
        finally:
            self._fault = None
            self._well.set()

    async def _embed(self, request: web.Request) -> web.Response:
        texts = (await request.json())["input"]
        self.asked += 1
        if self._fault == "fails":
            return web.Response(status=500)
        await self._well.wait()
        vectors = await self._words.embed(texts)
        data = [{"index": place, "embedding": vector.tolist()} for place, vector in enumerate(vectors)]
        return web.json_response({"data": data})


@asynccontextmanager
async def stub_embedder() -> AsyncIterator[StubEmbedder]:
    """The server, listening; its `url` is a value of the setting ``embedder_url``."""
    stub = StubEmbedder()
    app = web.Application()
    app.router.add_post("/v1/embeddings", stub._embed)
    async with TestServer(app) as server:
        words = stub._words
        stub.url = (
            f"openai+http://{server.host}:{server.port}/v1?model={words.model}&dimension={words.dimension}"
        )
        yield stub
