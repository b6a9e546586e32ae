"""The floor of the gateway, as a server of its own: an aiohttp handler that asks a service and answers with what it says.

    python benchmarks/bare_proxy.py SERVICE_URL

It prints its port; started by ``gateway.py``.
"""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web

NOT_PASSED = {"host", "content-length", "connection"}


async def serve(service_url: str) -> None:
    """Serve until killed."""
    session = ClientSession(connector=TCPConnector(limit=100), auto_decompress=False)

    async def passed(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_PASSED}
        body = await request.read()
        url = service_url + request.path_qs
        async with session.request(request.method, url, headers=headers, data=body or None) as answer:
            return web.Response(
                status=answer.status, body=await answer.read(), content_type=answer.content_type
            )

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", passed)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
