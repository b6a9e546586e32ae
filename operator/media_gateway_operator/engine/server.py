"""The operator's two ports: probes and metrics on one, job pods' reports on the other.

Liveness is whether the watches are heard and the event loop turns; readiness is whether the process has started and
reaches the API server, whoever leads.
"""

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.telemetry import exposition
from media_gateway_operator.settings import PREFIX

Problem = Callable[[], str | None]
"""None while all is well, else what is wrong."""


def probes_app(alive: Problem, ready: Problem) -> web.Application:
    """``/healthz``, ``/readyz``, ``/metrics``."""

    def probe(problem: Problem) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(_request: web.Request) -> web.Response:
            found = problem()
            return web.Response(status=503 if found else 200, text=f"{found or 'ok'}\n")

        return handle

    async def show_metrics(request: web.Request) -> web.Response:
        body, content_type = exposition(request.headers.get("Accept"))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/healthz", probe(alive))
    app.router.add_get("/readyz", probe(ready))
    app.router.add_get("/metrics", show_metrics)
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int, setting: str) -> AsyncIterator[int]:
    """Serve an application while the block runs; gives the port.

    Raises
    ------
    NotConfiguredError
        The address can't be listened on; names the setting.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            number = error.errno or 0
            reason = os.strerror(number) if number in errno.errorcode else "unknown host"
            raise NotConfiguredError(
                f"{PREFIX}{setting}: {host}:{port} can't be listened on ({reason.lower()}); "
                f"example: {PREFIX}{setting}=0 takes a free port"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
