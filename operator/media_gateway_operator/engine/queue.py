"""Which resource of a kind is next: a fair, coalescing queue, and the workers that empty it.

`FairQueue` is the order alone, without clock or loop, so that it can be proved by properties. `WorkQueue` adds workers,
delays and backoff for the controller of one kind.
"""

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine import metrics
from media_gateway_operator.kube.kinds import Ref

_log = structlog.get_logger(__name__)

MIN_DELAY_S: Final = 0.05
"""No reconciliation can ask to be repeated sooner: whatever a reconciler returns, the loop is never hot."""


class FairQueue:
    """Keys to be worked on: each at most once in line, never two at once for one key, namespaces in turn."""

    def __init__(self) -> None:
        self._line: OrderedDict[str, deque[Ref]] = OrderedDict()
        self._since: dict[Ref, float] = {}
        self._running: set[Ref] = set()
        self._again: dict[Ref, float] = {}

    def __len__(self) -> int:
        return len(self._since) + len(self._again)

    def add(self, key: Ref, now: float) -> bool:
        """Put a key in line, unless it is there; one that is being worked on goes in line when it is done.

        Returns
        -------
        bool
            Whether the line has become longer.
        """
        if key in self._running:
            self._again.setdefault(key, now)
            return False
        if key in self._since:
            return False
        self._since[key] = now
        self._line.setdefault(key.namespace, deque()).append(key)
        return True

    def take(self) -> tuple[Ref, float] | None:
        """The next key and the time since when it waited; None if there is none."""
        if not self._line:
            return None
        namespace, keys = self._line.popitem(last=False)
        key = keys.popleft()
        if keys:
            self._line[namespace] = keys
        self._running.add(key)
        return key, self._since.pop(key)

    def done(self, key: Ref) -> bool:
        """A taken key has been worked on; says whether it is in line again."""
        self._running.discard(key)
        since = self._again.pop(key, None)
        return since is not None and self.add(key, since)

    def oldest(self) -> float | None:
        """Since when the first in line waits."""
        return min((self._since[keys[0]] for keys in self._line.values()), default=None)


class WorkQueue:
    """Workers of one kind.

    Parameters
    ----------
    name
        The kind, for metrics.
    work
        Called with a key, never twice at once for the same; an exception counts as a failure.
    concurrency
        Workers.
    backoff
        Pauses after failures in a row.
    """

    def __init__(
        self, name: str, work: Callable[[Ref], Awaitable[None]], concurrency: int, backoff: Backoff
    ) -> None:
        self._name = name
        self._work = work
        self._concurrency = concurrency
        self._backoff = backoff
        self._queue = FairQueue()
        self._ready = asyncio.Semaphore(0)
        """As many as there are keys in line."""
        self._timers: dict[Ref, asyncio.TimerHandle] = {}
        self._failures: dict[Ref, int] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: Ref) -> None:
        """Have a key worked on soon."""
        if self._queue.add(key, time.monotonic()):
            self._ready.release()

    def add_after(self, key: Ref, delay_s: float) -> None:
        """Have a key worked on after a while; replaces an earlier wish of that sort."""
        self._cancel_timer(key)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(max(delay_s, MIN_DELAY_S), self._due, key)

    def failed(self, key: Ref, at_least_s: float = 0.0) -> int:
        """Count a failure and have the key tried again after a pause; gives the failures in a row."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, max(self._backoff.pause_s(failures), at_least_s))
        return failures

    def succeeded(self, key: Ref) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    def forget(self, key: Ref) -> None:
        """Forget all of a key that is gone."""
        self._failures.pop(key, None)
        self._cancel_timer(key)

    def age_s(self) -> float:
        """How long the first in line has waited, in seconds."""
        oldest = self._queue.oldest()
        return 0.0 if oldest is None else time.monotonic() - oldest

    @property
    def remembered(self) -> int:
        """Keys of which something is kept."""
        return len(self._timers.keys() | self._failures.keys())

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._concurrency):
                    group.create_task(self._worker(), name=f"{self._name} worker {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _worker(self) -> None:
        while True:
            await self._ready.acquire()
            # What needs no request needs no wait either: without this, workers would hold the loop until the line is empty.
            await asyncio.sleep(0)
            taken = self._queue.take()
            assert taken is not None  # each release stands for one key in line
            key, since = taken
            metrics.queue_wait.labels(self._name).observe(time.monotonic() - since)
            try:
                await self._work(key)
            except Exception:  # noqa: BLE001 - the controller's own defect must not stop the other resources
                _log.exception("reconciliation broke", kind=self._name, resource=str(key))
                self.failed(key)
            finally:
                if self._queue.done(key):
                    self._ready.release()

    def _due(self, key: Ref) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Ref) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def jittered(period_s: float) -> float:
    """A period of which the last tenth is random, so that resources don't come in step."""
    return period_s * (0.9 + random.random() / 10)  # noqa: S311 - spreading, not secrecy
