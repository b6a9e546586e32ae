"""A Redis that a test may pause and kill, because nobody else uses it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis


@contextmanager
def paused(server: EmbeddedRedis) -> Iterator[None]:
    """It takes connections and answers nothing, as on a host that hangs."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def killed(server: EmbeddedRedis) -> None:
    """``kill -9``; `EmbeddedRedis.start` brings it back at the same address, with what it had written."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
