"""The floors of signing in, as a server of its own: aiohttp's plain handlers, without anything of ours around them.

    python benchmarks/bare_auth.py REDIS_URL KEYS_FILE

``POST /sign`` reads a form and signs an access token; ``POST /poll`` reads a form and runs the least Redis script. It prints
its port; started by ``auth.py``.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import jwt
import uvloop
from aiohttp import web
from jwt.algorithms import RSAAlgorithm
from redis.asyncio import Redis


async def serve(redis_url: str, jwk: dict[str, Any]) -> None:
    redis = Redis.from_url(redis_url)
    digest = await redis.script_load("return redis.call('INCR', KEYS[1])")
    key = RSAAlgorithm.from_jwk(jwk)

    async def sign(request: web.Request) -> web.Response:
        dict(parse_qsl((await request.read()).decode()))
        now = int(time.time())
        claims = {
            "iss": "bare", "sub": "service", "aud": "bare", "client_id": "service", "iat": now, "exp": now + 3600,
            "jti": str(uuid4()), "scope": "read:content",
        }  # fmt: skip
        token = jwt.encode(claims, key, algorithm="RS256", headers={"typ": "at+jwt", "kid": "bare"})
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    async def poll(request: web.Request) -> web.Response:
        dict(parse_qsl((await request.read()).decode()))
        await redis.evalsha(digest, 1, "bench:poll")
        return web.json_response({"error": "authorization_pending"})

    app = web.Application()
    app.router.add_post("/sign", sign)
    app.router.add_post("/poll", poll)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], json.loads(Path(sys.argv[2]).read_text())["keys"][0]))
