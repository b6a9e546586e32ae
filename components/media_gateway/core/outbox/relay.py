"""The relay: carries outbox rows to their handlers, for as long as a process lives.

Every process that writes rows may run one; of all relays of a destination one works at a time, chosen anew for each
batch by an advisory lock that lasts as long as the batch's transaction. So a relay that dies, hangs or loses its
connection holds up nobody for longer than the transaction's idle limit, and connection poolers in transaction mode work.

Order per key. Ids are drawn in the order of inserts, and a batch is the lowest ids there are. Two transactions that
change the same key exclude each other by that key's row lock, and each enqueues after it has the lock: the later one
draws the higher id and is not visible before the earlier one. Transactions that do not exclude each other have no order
to keep; a row that commits late with a low id is simply delivered next, because the relay keeps no "last id" and deletes
by id. If a relay is cut off in mid-batch, another one delivers those rows again: an event may repeat, its first deliveries
are in order.

The relay polls: every 2 to 40 ms while rows come, five times a second after a quiet time, which ends at once when its
own process writes rows. It is not woken by NOTIFY: a commit that notifies takes a lock of the whole database and so makes
all writers commit one after another, and LISTEN does not work through transaction poolers.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge, Histogram

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.outbox import rows as table
from media_gateway.core.outbox.delivery import Handler, Outcome, deliver
from media_gateway.core.outbox.wake import listen
from media_gateway.core.retry import RetryPolicy
from media_gateway.core.settings import CoreSettings

_log = structlog.get_logger(__name__)
_backlog = Gauge("mgw_outbox_backlog", "Rows waiting, counted up to 100,000", ["destination"])
_age = Gauge("mgw_outbox_age_seconds", "Age of the oldest waiting row", ["destination"])
_delivered = Counter("mgw_outbox_delivered_total", "Rows delivered by this process", ["destination"])
_rejected = Counter("mgw_outbox_rejected_total", "Rows no handler could take", ["destination"])
_failures = Counter("mgw_outbox_failures_total", "Deliveries to be tried again", ["destination", "code"])
_seconds = Histogram("mgw_outbox_batch_seconds", "Time from reading a batch to its commit", ["destination"])

STOP_GRACE_S = 4.0
"""How long a cancelled relay waits for its connections to let go; below the 5 s a stopping process grants it."""


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """How a relay works.

    Attributes
    ----------
    batch_size : int
        Most rows given to a handler at once.
    handler_timeout_ms : int
        Longest a handler may take for one call.
    idle_min_ms, idle_max_ms : int
        Pause between two looks at an empty outbox: it doubles from the one to the other.
    quiet_ms, quiet_after_s : int, float
        Pause once nothing came for that many seconds: how long the first row of another process may wait then.
    busy_ms : int
        Pause while another relay works on the destination.
    backoff : RetryPolicy
        Pauses after failures (its count of retries is not used: a row is tried until it is delivered or rejected).
    unexpected_tries : int
        Failures in a row by errors outside the family, before single rows are blamed for them.
    observe_s : float
        Seconds between two measurements of the backlog.
    rejected_retention, consumed_retention : timedelta
        How long rejected rows and the ids of consumed events are kept.
    """

    batch_size: int = 500
    handler_timeout_ms: int = 30_000
    idle_min_ms: int = 2
    idle_max_ms: int = 40
    quiet_ms: int = 200
    quiet_after_s: float = 5.0
    busy_ms: int = 10
    backoff: RetryPolicy = field(default_factory=lambda: RetryPolicy(0, 100, 10_000))
    unexpected_tries: int = 5
    observe_s: float = 5.0
    rejected_retention: timedelta = timedelta(days=30)
    consumed_retention: timedelta = timedelta(days=7)

    @classmethod
    def from_settings(cls, settings: CoreSettings) -> "RelayPolicy":
        """The policy with the retention that the operator set."""
        return cls(
            rejected_retention=timedelta(days=settings.rejected_kept_days),
            consumed_retention=timedelta(days=settings.consumed_kept_days),
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """What one look at the outbox brought."""

    busy: bool = False
    moved: int = 0
    error: Exception | None = None


class _Idle:
    """The pauses between two looks at an empty outbox."""

    def __init__(self, policy: RelayPolicy, woken: asyncio.Event) -> None:
        self._policy = policy
        self._woken = woken
        self.reset()

    def reset(self) -> None:
        self._pause_ms = self._policy.idle_min_ms
        self._busy_at = time.monotonic()

    async def wait(self) -> None:
        policy = self._policy
        quiet = time.monotonic() - self._busy_at > policy.quiet_after_s
        try:
            async with asyncio.timeout((policy.quiet_ms if quiet else self._pause_ms) / 1000):
                await self._woken.wait()
        except TimeoutError:
            self._pause_ms = min(2 * self._pause_ms, policy.idle_max_ms)
        else:
            # Set before the commit: the pauses start again small, so that the rows are found right after it.
            self._woken.clear()
            self.reset()
            await asyncio.sleep(policy.idle_min_ms / 1000)


class OutboxRelay:
    """Carries rows to handlers.

    Parameters
    ----------
    database
        Where the outbox is. The relay uses one connection a destination while it works, none while it waits.
    handlers
        Handler of each destination.
    policy
        How it works.
    """

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler], policy: RelayPolicy | None = None
    ) -> None:
        self._database = database
        self._handlers = dict(handlers)
        self._policy = policy or RelayPolicy()
        self._complaints: dict[str, str] = {}

    async def run(self) -> None:
        """Deliver until cancelled; then return within ``STOP_GRACE_S``, whatever state Postgres and handlers are in."""
        tasks = [asyncio.create_task(self._serve(name), name=f"outbox {name}") for name in self._handlers]
        tasks += [asyncio.create_task(self._observe(), name="outbox gauges")]
        tasks += [asyncio.create_task(self._purge(), name="outbox retention")]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _stop(tasks)

    async def drain(self, *, timeout_s: float) -> bool:
        """Deliver what was committed before the call; whether all of it is gone (delivered or rejected) in time.

        Works beside `run`, and by itself in a process that ends after its work.
        """
        if not self._handlers:
            return True
        tasks = [asyncio.create_task(self._drain(name), name=f"drain {name}") for name in self._handlers]
        try:
            done, late = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            await _stop(tasks)
        return not late

    async def _serve(self, destination: str) -> None:
        failures = 0
        idle = _Idle(self._policy, listen(self._database.engine))
        while True:
            step = await self._attempt(destination, failures)
            if step.error:
                failures = 1 if step.moved else failures + 1
                await self._back_off(destination, step.error, failures)
                continue
            failures = 0
            if step.busy:
                await asyncio.sleep(self._policy.busy_ms / 1000)
            elif step.moved:
                idle.reset()
            else:
                await idle.wait()

    async def _drain(self, destination: str) -> None:
        failures = 0
        target: int | None = None
        while True:
            try:
                if target is None:
                    target = await table.last_id(self._database, destination)
                if not await table.peek(self._database, destination, target):
                    return
                step = await self._attempt(destination, failures)
            except MediaGatewayError as error:
                step = _Step(error=error)
            if step.error:
                failures = 1 if step.moved else failures + 1
                await self._back_off(destination, step.error, failures)
            elif step.busy or not step.moved:
                await asyncio.sleep(self._policy.busy_ms / 1000)

    async def _attempt(self, destination: str, failures: int) -> _Step:
        limit_s = 2 * self._policy.handler_timeout_ms / 1000 + 30
        try:
            # A server that vanished without closing its connections would be waited for until TCP gives up.
            async with asyncio.timeout(limit_s):
                if not await table.peek(self._database, destination):
                    return _Step()
                return await self._move(destination, isolate=failures >= self._policy.unexpected_tries)
        except Exception as error:  # noqa: BLE001 - the supervised loop: logged by _back_off, then tried again
            return _Step(error=error)

    async def _move(self, destination: str, *, isolate: bool) -> _Step:
        timeout_ms = self._policy.handler_timeout_ms
        async with self._database.transaction() as connection:
            if not await table.try_lock(connection, destination, idle_ms=2 * timeout_ms + 5_000):
                return _Step(busy=True)
            with _seconds.labels(destination).time():
                batch = await table.fetch(connection, destination, self._policy.batch_size)
                if not batch:
                    return _Step()
                outcome = await deliver(
                    batch,
                    self._handlers[destination],
                    timeout_s=timeout_ms / 1000,
                    isolate_unexpected=isolate,
                )
                await table.delete(connection, destination, outcome.delivered)
                for row, error in outcome.rejected:
                    await table.reject(connection, destination, row, _reason(error))
        self._count(destination, outcome)
        return _Step(moved=len(outcome.delivered) + len(outcome.rejected), error=outcome.error)

    def _count(self, destination: str, outcome: Outcome) -> None:
        _delivered.labels(destination).inc(len(outcome.delivered))
        if outcome.delivered and outcome.error is None and destination in self._complaints:
            del self._complaints[destination]
            _log.info("outbox delivery works again", destination=destination)
        for row, error in outcome.rejected:
            _rejected.labels(destination).inc()
            _log.error(
                "outbox row rejected", destination=destination, id=row.id, key=row.key, reason=_reason(error)
            )

    async def _back_off(self, destination: str, error: Exception, failures: int) -> None:
        code = error.code if isinstance(error, MediaGatewayError) else "unexpected"
        _failures.labels(destination, code).inc()
        floor_ms = (error.retry_after_ms or 0) if isinstance(error, MediaGatewayError) else 0
        pause_ms = max(self._policy.backoff.delay_ms(failures - 1, random.random), float(floor_ms))
        # Once for each reason; while it stays the same, only the counter and the debug log go on.
        repeated = self._complaints.get(destination) == _reason(error)
        self._complaints[destination] = _reason(error)
        severe = _log.warning if isinstance(error, MediaGatewayError) else _log.error
        log = _log.debug if repeated else severe
        log(
            "outbox delivery failed",
            destination=destination,
            failures=failures,
            retry_in_ms=round(pause_ms),
            error=_reason(error),
            exc_info=None if isinstance(error, MediaGatewayError) else error,
        )
        await asyncio.sleep(pause_ms / 1000)

    async def _observe(self) -> None:
        while True:
            try:
                for destination in self._handlers:
                    waiting = await table.backlog(self._database, destination)
                    _backlog.labels(destination).set(waiting.rows)
                    _age.labels(destination).set(waiting.age_s)
            except MediaGatewayError as error:
                _log.warning("outbox not measured", error=error.message)
            await asyncio.sleep(self._policy.observe_s)

    async def _purge(self) -> None:
        policy = self._policy
        while True:
            try:
                await table.purge(self._database, "outbox_rejected", policy.rejected_retention)
                await table.purge(self._database, "consumed_events", policy.consumed_retention)
            except MediaGatewayError as error:
                _log.warning("outbox retention failed", error=error.message)
            await asyncio.sleep(3600)


def _reason(error: Exception) -> str:
    text = error.message if isinstance(error, MediaGatewayError) else str(error)
    return f"{type(error).__name__}: {text}"


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    _, stuck = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
    if stuck:
        _log.warning("outbox relay left work behind", tasks=[task.get_name() for task in stuck])
