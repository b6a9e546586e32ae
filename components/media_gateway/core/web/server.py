"""A component on a port: started beside others (``media-gateway up``), in a test, or alone by `run_component`."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from media_gateway.core.bootstrap import Backends, open_backends
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.health import Health
from media_gateway.core.settings import PREFIX, CoreSettings
from media_gateway.core.web.app import create_app, metrics
from media_gateway.core.web.component import Component, S
from media_gateway.core.web.keys import HEALTH, IN_FLIGHT
from media_gateway.core.web.protocol import ProblemRunner

CLOSING_S = 5.0
"""Share of the drain that is kept for undoing the wiring and closing backends, in seconds; at most a quarter of it."""

CUT_OFF_S = 1.0
"""How long a cancelled request may take to end, in seconds."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RunningComponent:
    """A listening component.

    Attributes
    ----------
    name, url : str
        Its name, and where it answers (``http://127.0.0.1:8081``).
    app : web.Application
        The application.
    """

    name: str
    url: str
    app: web.Application
    _runner: web.AppRunner
    _settings: CoreSettings
    _stack: AsyncExitStack
    _drained: asyncio.Task[None] | None = field(default=None)

    @property
    def health(self) -> Health:
        """Its checks."""
        return self.app[HEALTH]

    async def drain(self) -> None:
        """Stop in good order, within ``drain_timeout_s``; calling it again waits for the same drain.

        Readiness goes off; after ``drain_delay_s`` nothing new is accepted; requests in flight are finished; the wiring
        is undone; backends of its own are closed.
        """
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(), name=f"drain {self.name}")
        await asyncio.shield(self._drained)

    async def _drain(self) -> None:
        started = time.monotonic()
        total_s = self._settings.drain_timeout_s
        self.health.draining = True
        _log.info("draining", component=self.name, in_flight=len(self.app[IN_FLIGHT]))
        await asyncio.sleep(min(self._settings.drain_delay_s, total_s / 2))
        await self._stop_accepting()
        closing_s = min(CLOSING_S, total_s / 4)
        await self._finish_requests(total_s - closing_s - (time.monotonic() - started))
        try:
            async with asyncio.timeout(max(CUT_OFF_S, total_s - (time.monotonic() - started))):
                await self._stack.aclose()
        except TimeoutError:
            _log.error("the component did not close in time", component=self.name)
        _log.info("stopped", component=self.name, took_ms=round((time.monotonic() - started) * 1000))

    async def _stop_accepting(self) -> None:
        for site in self._runner.sites:
            await site.stop()
        # One turn of the loop, so that requests that have arrived are begun.
        await asyncio.sleep(0)
        busy = set(self.app[IN_FLIGHT].values())
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection in busy:
                connection.close()  # after the answer it is working on
            else:
                # aiohttp's own `close` would leave an idle connection open and deaf: its client would wait for nothing.
                connection.force_close()

    async def _finish_requests(self, timeout_s: float) -> None:
        ends_at = time.monotonic() + timeout_s
        # In rounds: a connection accepted at the last moment may still begin a request.
        while tasks := self.app[IN_FLIGHT].copy():
            _, late = await asyncio.wait(tasks, timeout=max(0.0, ends_at - time.monotonic()))
            if late:
                _log.warning("requests cut off by the drain", component=self.name, requests=len(late))
                for task in late:
                    task.cancel()
                return


async def start_component(
    component: Component[S],
    settings: S,
    backends: Backends | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
) -> RunningComponent:
    """Serve a component until it is drained.

    Parameters
    ----------
    backends
        Shared with other components and closed by whoever opened them; without them the component opens its own.
    host, port
        Instead of those of the settings; port 0 takes any free one.

    Raises
    ------
    NotConfiguredError
        The address can't be listened on, or a backend's URL is wrong.
    """
    stack = AsyncExitStack()
    try:
        if backends is None:
            backends = await stack.enter_async_context(open_backends(settings, component.needs))
        app = create_app(component, settings, backends)
        # A handler whose client went away is cancelled: it must not hold connections for an answer nobody reads.
        runner = ProblemRunner(
            app, component.name, access_log=None, handler_cancellation=True, shutdown_timeout=CUT_OFF_S
        )
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        if port is None:
            port = component.port if settings.service_port is None else settings.service_port
        url = await _listen(runner, host or settings.service_host, port, "SERVICE_PORT")
    except BaseException:
        await stack.aclose()
        raise
    _log.info("listening", component=component.name, url=url)
    return RunningComponent(component.name, url, app, runner, settings, stack)


@asynccontextmanager
async def metrics_server(host: str, port: int) -> AsyncIterator[str]:
    """Serve ``/metrics`` of this process on a port of its own while the block runs; gives its address.

    Raises
    ------
    NotConfiguredError
        The address can't be listened on.
    """
    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CUT_OFF_S)
    await runner.setup()
    try:
        yield await _listen(runner, host, port, "METRICS_PORT")
    finally:
        await runner.cleanup()


def check_host(host: str, error: OSError) -> None:
    """Tell a wrong host from a taken port, after an address could not be listened on.

    Raises
    ------
    NotConfiguredError
        The host is none of this machine's.
    """
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        raise NotConfiguredError(
            f"{PREFIX}SERVICE_HOST: {host} is no address of this machine; example: {PREFIX}SERVICE_HOST=0.0.0.0"
        ) from error


async def _listen(runner: web.AppRunner, host: str, port: int, setting: str) -> str:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        check_host(host, error)
        reason = f"{host}:{port} can't be listened on ({os.strerror(error.errno or 0).lower()})"
        raise NotConfiguredError(
            f"{PREFIX}{setting}: {reason}; example: {PREFIX}{setting}=0 takes a free port"
        ) from error
    bound = runner.addresses[0][1]
    # Everywhere is not an address to call; loopback is part of it.
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{bound}" if ":" in reachable else f"http://{reachable}:{bound}"
