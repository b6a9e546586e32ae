"""What ``/health`` says about a component: its dependencies' and tasks' state, checked in parallel and briefly kept.

The web kit adds the probes of a component's backends and supervised tasks; a component adds its own while wiring. Probes
only look: nothing here repairs anything.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import structlog

from media_gateway import __version__
from media_gateway.core.errors import MediaGatewayError

PROBE_TIMEOUT_S = 2.0
"""Longest one check may take: below the five seconds that probes of a cluster usually wait."""

KEPT_S = 1.0
"""How long an answer is reused, so that any number of askers costs the dependencies one check a second."""

Probe = Callable[[], Awaitable[str | None]]
"""Returns None if all is well, a sentence if something works less well than it should; raises if it does not work."""

_log = structlog.get_logger(__name__)


class Status(StrEnum):
    """State of a component part, or of the whole."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class PartHealth:
    """Outcome of one check; ``latency_ms`` is how long it took."""

    name: str
    status: Status
    latency_ms: float
    message: str | None
    critical: bool


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Outcome of all checks.

    Attributes
    ----------
    status : Status
        Unhealthy if a critical part is, degraded if any part is not healthy, else healthy.
    components : tuple of PartHealth
        The parts in the order they were added.
    total_latency_ms : float
        How long the parallel checks took together.
    """

    status: Status
    components: tuple[PartHealth, ...]
    version: str
    timestamp: datetime
    total_latency_ms: float


@dataclass(slots=True)
class _Check:
    name: str
    probe: Probe
    critical: bool
    running: asyncio.Task[PartHealth] | None = field(default=None)


class Health:
    """The checks of one component.

    Parameters
    ----------
    timeout_s
        Longest one check may take, in seconds.
    kept_s
        How long a report is reused, in seconds.
    """

    def __init__(self, *, timeout_s: float = PROBE_TIMEOUT_S, kept_s: float = KEPT_S) -> None:
        self.draining = False
        """Set once the process is stopping: it is alive, and wants no new requests."""
        self._timeout_s = timeout_s
        self._kept_s = kept_s
        self._checks: dict[str, _Check] = {}
        self._report: HealthReport | None = None
        self._fresh_until = 0.0
        self._running: asyncio.Task[HealthReport] | None = None

    def add(self, name: str, probe: Probe, *, critical: bool = False) -> None:
        """Add a check, or replace the one of that name. Without a critical part that fails, readiness stays on."""
        self._checks[name] = _Check(name, probe, critical)
        self._fresh_until = 0.0

    async def report(self) -> HealthReport:
        """The state of all parts, at most ``kept_s`` old. Askers at the same time share one round of checks."""
        if self._report is not None and time.monotonic() < self._fresh_until:
            return self._report
        if self._running is None or self._running.done():
            # In an empty context: the answer is for all askers, so one asker's short deadline must not show in it.
            self._running = asyncio.create_task(self._check_all(), name="health checks", context=Context())
        # Shielded: an asker who goes away must not take the answer from the others.
        return await asyncio.shield(self._running)

    async def close(self) -> None:
        """Stop checks that are still running."""
        tasks = [
            t for t in (self._running, *(c.running for c in self._checks.values())) if t and not t.done()
        ]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._timeout_s)

    async def _check_all(self) -> HealthReport:
        started = time.monotonic()
        checks = list(self._checks.values())
        for check in checks:
            # A probe that ignored its cancellation is not started a second time.
            if check.running is None or check.running.done():
                check.running = asyncio.create_task(_run(check), name=f"health check {check.name}")
        tasks = [check.running for check in checks if check.running]
        if tasks:
            await asyncio.wait(tasks, timeout=self._timeout_s)
        parts = tuple(self._outcome(check) for check in checks)
        self._report = HealthReport(
            status=_overall(parts),
            components=parts,
            version=__version__,
            timestamp=datetime.now(UTC),
            total_latency_ms=_elapsed_ms(started),
        )
        self._fresh_until = time.monotonic() + self._kept_s
        return self._report

    def _outcome(self, check: _Check) -> PartHealth:
        task = check.running
        if task is not None and task.done() and not task.cancelled():
            return task.result()
        if task is not None:
            task.cancel()
        message = f"no answer within {self._timeout_s:g} s"
        return PartHealth(check.name, Status.UNHEALTHY, self._timeout_s * 1000, message, check.critical)


async def _run(check: _Check) -> PartHealth:
    started = time.monotonic()
    try:
        message = await check.probe()
        status = Status.HEALTHY if message is None else Status.DEGRADED
    except MediaGatewayError as error:
        status, message = Status.UNHEALTHY, error.message
    except Exception:  # noqa: BLE001 - whatever a driver raises, the report must go out; the log has what it was
        _log.warning("health check failed", check=check.name, exc_info=True)
        status, message = Status.UNHEALTHY, "the check itself failed; the log has the reason"
    return PartHealth(check.name, status, _elapsed_ms(started), message, check.critical)


def _overall(parts: tuple[PartHealth, ...]) -> Status:
    if any(part.critical and part.status is Status.UNHEALTHY for part in parts):
        return Status.UNHEALTHY
    return Status.HEALTHY if all(part.status is Status.HEALTHY for part in parts) else Status.DEGRADED


def _elapsed_ms(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
