"""A component as a process of its own: the whole of its ``__main__.py`` is a call of `run_component`."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import NoReturn

import structlog

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import load_settings
from media_gateway.core.telemetry import configure_logging
from media_gateway.core.web.component import Component, S
from media_gateway.core.web.server import metrics_server, start_component

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: restarting changes nothing, an operator must act."""

NEW_OBJECTS = 20_000
"""New objects that let the garbage collector look for circles among them. With Python's own 700 it looks several times a
request, and mostly at objects of requests under way: a seventh of a small request's time."""

_log = structlog.get_logger(__name__)


def run_component(component: Component[S], *, unread: Sequence[str] = ()) -> None:
    """Serve a component until SIGTERM or SIGINT, then drain it; a second signal ends the process at once.

    A wrong or missing setting ends the process with status 78 and one line on standard error for each.

    Parameters
    ----------
    unread
        What is to be warned of once the log is set up: variables that look like settings and are none.
    """
    try:
        settings = load_settings(component.settings)
    except NotConfiguredError as error:
        _give_up(error)
    configure_logging(settings, service=component.name)
    if unread:
        _log.warning("variables that nothing reads", variables=list(unread))
    gc.set_threshold(NEW_OBJECTS)
    try:
        with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            runner.run(_serve(component, settings))
    except NotConfiguredError as error:
        _give_up(error)


async def _serve(component: Component[S], settings: S) -> None:
    with stop_signals() as stop:
        async with AsyncExitStack() as stack:
            if settings.metrics_port is not None:
                url = await stack.enter_async_context(
                    metrics_server(settings.service_host, settings.metrics_port)
                )
                _log.info("metrics", url=f"{url}/metrics")
            running = await start_component(component, settings)
            stack.push_async_callback(running.drain)
            await stop.wait()


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets. The second signal ends the process where it stands, status 128 + signal."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            _log.warning("stopped at once by a second signal")
            sys.stderr.flush()
            os._exit(128 + number)
        _log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it is installed (everywhere but on Windows), else the standard loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _give_up(error: NotConfiguredError) -> NoReturn:
    sys.stderr.write(f"{error.message}\n")
    raise SystemExit(EXIT_CONFIG)
