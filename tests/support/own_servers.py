"""A Redis or Postgres that a test may pause and kill, because nobody else uses it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from media_gateway.core.adapters.embedded.server import EmbeddedServer


@contextmanager
def paused(server: EmbeddedServer) -> Iterator[None]:
    """It takes connections and answers nothing, as on a host that hangs."""
    processes = _all_of(server)
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def killed(server: EmbeddedServer) -> None:
    """``kill -9``; `EmbeddedServer.start` brings it back at the same address, with what it had written."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()


def _all_of(server: EmbeddedServer) -> list[psutil.Process]:
    """Its first process and, of Postgres, one for each connection."""
    assert server.pid is not None
    first = psutil.Process(server.pid)
    return [first, *first.children(recursive=True)]
