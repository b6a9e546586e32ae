"""The floors of searching over HTTP, as a server of its own: aiohttp's plain handlers, without anything of ours around them.

    python benchmarks/bare_server.py REDIS_URL MODELS_FOLDER

``POST /kept`` answers with what Redis has under one key. ``POST /embedded`` embeds the query it is sent. It prints its
port; started by ``search.py``.
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop
from aiohttp import web
from redis.asyncio import Redis

from media_gateway.core.adapters.minilm import MiniLMEmbedder

KEY = "bench:kept"
"""Where the answer of ``/kept`` is."""


async def serve(redis_url: str, models_path: Path) -> None:
    redis = Redis.from_url(redis_url)
    embedder = MiniLMEmbedder(models_path)
    await embedder.embed(["ready"])

    async def kept(_request: web.Request) -> web.Response:
        return web.Response(body=await redis.get(KEY), content_type="application/json")

    async def embedded(request: web.Request) -> web.Response:
        vectors = await embedder.embed([json.loads(await request.read())["query"]])
        return web.Response(body=vectors.tobytes(), content_type="application/octet-stream")

    app = web.Application()
    app.router.add_post("/kept", kept)
    app.router.add_post("/embedded", embedded)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2])))
