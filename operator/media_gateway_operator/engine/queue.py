"""Which resource of a kind is next: a fair, coalescing queue, and the workers that empty it.

`FairQueue` is the order alone, without clock or loop, so that it can be proved by properties. `WorkQueue` adds workers,
delays and backoff for the controller of one kind.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog

from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine import metrics
from media_gateway_operator.kube.kinds import Ref

_log = structlog.get_logger(__name__)

MIN_DELAY_S: Final = 0.05
"""No reconciliation can ask to be repeated sooner: whatever a reconciler returns, the loop is never hot."""

PASSED: Final = 8
"""So many turns a patient key lets others pass at most."""


class FairQueue:
    """Keys to be worked on: each at most once in line, never two at once for one key, namespaces in turn.

    Keys that are patient let the others pass, except that each `PASSED`-th turn is theirs.
    """

    def __init__(self) -> None:
        self._prompt = _Line()
        self._patient = _Line()
        self._passed = 0
        self._running: set[Ref] = set()
        self._again: dict[Ref, float] = {}

    def __len__(self) -> int:
        return len(self._prompt.since) + len(self._patient.since) + len(self._again)

    def add(self, key: Ref, now: float, *, patient: bool = False) -> bool:
        """Put a key in line, unless it is there; one that is being worked on goes in line when it is done.

        A patient key that is added as one that is not keeps the time since when it waits.

        Returns
        -------
        bool
            Whether the line has become longer.
        """
        if key in self._running:
            self._again.setdefault(key, now)
            return False
        if key in self._prompt.since or (patient and key in self._patient.since):
            return False
        if patient:
            self._patient.append(key, now)
            return True
        waited_since = self._patient.remove(key)
        self._prompt.append(key, now if waited_since is None else waited_since)
        return waited_since is None

    def take(self) -> tuple[Ref, float] | None:
        """The next key and the time since when it waited; None if there is none."""
        its_turn = self._patient.since and (self._passed >= PASSED or not self._prompt.since)
        self._passed = 0 if its_turn or not self._patient.since else self._passed + 1
        taken = (self._patient if its_turn else self._prompt).take()
        if taken is not None:
            self._running.add(taken[0])
        return taken

    def done(self, key: Ref) -> bool:
        """A taken key has been worked on; says whether it is in line again."""
        self._running.discard(key)
        since = self._again.pop(key, None)
        return since is not None and self.add(key, since)

    def oldest(self) -> float | None:
        """Since when the first in line waits."""
        return min((*self._prompt.firsts(), *self._patient.firsts()), default=None)


class _Line:
    """Keys in the order in which they came, namespaces in turn."""

    def __init__(self) -> None:
        self.since: dict[Ref, float] = {}
        self._places: OrderedDict[str, OrderedDict[Ref, None]] = OrderedDict()

    def append(self, key: Ref, since: float) -> None:
        self.since[key] = since
        self._places.setdefault(key.namespace, OrderedDict())[key] = None

    def take(self) -> tuple[Ref, float] | None:
        if not self._places:
            return None
        namespace, keys = self._places.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            self._places[namespace] = keys
        return key, self.since.pop(key)

    def remove(self, key: Ref) -> float | None:
        since = self.since.pop(key, None)
        if since is not None:
            keys = self._places[key.namespace]
            del keys[key]
            if not keys:
                del self._places[key.namespace]
        return since

    def firsts(self) -> Iterator[float]:
        return (self.since[next(iter(keys))] for keys in self._places.values())


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

    def add(self, key: Ref, *, patient: bool = False) -> None:
        """Have a key worked on soon; a patient one lets others pass."""
        if self._queue.add(key, time.monotonic(), patient=patient):
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
