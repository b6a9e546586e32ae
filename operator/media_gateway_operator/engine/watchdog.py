"""A thread beside the event loop: ends the process when the lease is lost, and says what holds the loop up.

A thread, because both must work while the loop does not: a leader that was frozen or blocked may be one no longer.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final, Self

import structlog

from media_gateway_operator.engine import metrics

EXIT_LOST: Final = 75
"""EX_TEMPFAIL of sysexits.h: the process is to be started again and to wait for its turn."""

LOOK_S: Final = 0.5
BLOCKED_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Watchdog:
    """Looks every half second.

    Parameters
    ----------
    lost
        Whether the process must end now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[], bool]) -> None:
        self._loop = loop
        self._lost = lost
        self._watched = threading.get_ident()
        self._stop = threading.Event()
        self._asked_at: float | None = None
        self._told = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * LOOK_S)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            if self._lost():
                sys.stderr.write("the lease is lost; the process ends\n")
                sys.stderr.flush()
                os._exit(EXIT_LOST)
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            try:
                self._loop.call_soon_threadsafe(self._turned, now)
            except RuntimeError:
                return  # the loop is closed
            return
        late_s = now - self._asked_at
        metrics.loop_lag.set(late_s)
        if late_s > BLOCKED_S and not self._told:
            self._told = True
            frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way to another thread's stack
            stack = "".join(traceback.format_stack(frame, limit=12)) if frame else ""
            _log.warning("the event loop is held up", late_s=round(late_s, 1), stack=stack)

    def _turned(self, asked_at: float) -> None:
        metrics.loop_lag.set(time.monotonic() - asked_at)
        self._asked_at = None
        self._told = False
