"""Background work of a process, kept running: restarted with growing pauses, logged, counted, seen in ``/health``.

Components spawn their followers and relays while wiring; nothing else in the code base starts a task that outlives a
request.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge

from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.health import Health

STEADY_S = 60.0
"""A run of this length counts as recovered: the next failure starts again with the shortest pause."""

_log = structlog.get_logger(__name__)
_restarts = Counter("mgw_task_failures_total", "Failed runs of supervised tasks", ["component", "task"])
_running = Gauge(
    "mgw_task_running",
    "1 while a supervised task runs, 0 while it waits to be restarted",
    ["component", "task"],
)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before a restart: min(base * 2**failures, max), of which a random half to all is waited (seconds)."""

    base_s: float = 0.2
    max_s: float = 30.0

    def pause_s(self, failures: int, rng: Callable[[], float] = random.random) -> float:
        """Pause after the given number of failures in a row, in seconds."""
        # The exponent is bounded so that the float stays finite however long something stays broken.
        whole = min(self.base_s * 2.0 ** min(failures - 1, 32), self.max_s)
        return whole * (0.5 + rng() / 2)


@dataclass(slots=True)
class _State:
    failures: int = 0
    problem: str | None = None
    pause_s: float = 0.0
    running_since: float | None = None

    async def probe(self) -> str | None:
        # Being restarted is not being well: the part is healthy again once a run has outlasted the pause before it.
        since = self.running_since
        if self.problem is None or (since is not None and time.monotonic() - since > self.pause_s):
            return None
        return f"failed {self.failures} times in a row: {self.problem}"


class Supervisor:
    """Runs the background tasks of one component.

    Parameters
    ----------
    component
        Name in logs and metrics.
    health
        Each task appears there as a part that is not critical.
    backoff
        Pauses before restarts.
    """

    def __init__(self, component: str, health: Health, *, backoff: Backoff = Backoff()) -> None:
        self._component = component
        self._health = health
        self._backoff = backoff
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def spawn(self, name: str, run: Callable[[], Awaitable[object]]) -> None:
        """Run something until the component stops.

        Parameters
        ----------
        name
            A fixed phrase (it is a metric label), unique within the component.
        run
            Called again after each failure. Returning means that the work is done. It is cancelled at the end.

        Raises
        ------
        ValueError
            A task of that name is running.
        """
        if self._stopping:
            return
        if name in self._tasks and not self._tasks[name].done():
            raise ValueError(f"a task named {name!r} is already running")
        state = _State()
        self._health.add(name, state.probe)
        self._tasks[name] = asyncio.create_task(
            self._keep_running(name, run, state),
            name=f"{self._component}: {name}",
            # An empty context: spawned by a request, the task must not inherit that request's deadline and ids.
            context=Context(),
        )

    async def stop(self, *, timeout_s: float = 5.0) -> bool:
        """Cancel all tasks and wait for them.

        Returns
        -------
        bool
            Whether all ended in time; those that did not are named in the log.
        """
        self._stopping = True
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        if late:
            _log.error(
                "background tasks did not stop in time", tasks=sorted(task.get_name() for task in late)
            )
        return not late

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[object]], state: _State) -> None:
        structlog.contextvars.bind_contextvars(service=self._component, task=name)
        running = _running.labels(self._component, name)
        try:
            while True:
                running.set(1)
                state.running_since = time.monotonic()
                try:
                    await run()
                except asyncio.CancelledError:
                    # Cancelled from within (by a future it awaited) is a failure like any other.
                    if self._stopping or _being_cancelled():
                        raise
                    problem: BaseException = RuntimeError("cancelled from within")
                except Exception as error:  # noqa: BLE001 - the supervised loop: logged and counted below
                    problem = error
                else:
                    state.problem = None
                    _log.info("background task finished")
                    return
                running.set(0)
                self._note(name, state, problem)
                await asyncio.sleep(state.pause_s)
        finally:
            running.set(0)

    def _note(self, name: str, state: _State, problem: BaseException) -> None:
        recovered = state.running_since is not None and time.monotonic() - state.running_since >= STEADY_S
        state.running_since = None
        state.failures = 1 if recovered else state.failures + 1
        state.problem = problem.message if isinstance(problem, MediaGatewayError) else type(problem).__name__
        state.pause_s = self._backoff.pause_s(state.failures)
        _restarts.labels(self._component, name).inc()
        _log.error(
            "background task failed",
            failures=state.failures,
            retry_in_ms=round(state.pause_s * 1000),
            problem=state.problem,
            exc_info=problem,
        )


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
