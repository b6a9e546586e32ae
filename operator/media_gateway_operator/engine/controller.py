"""One kind's control loop: key → snapshot → observe → desired → carried out → looked at again.

Written once for all kinds; what a kind means is its `Reconciler`'s. A failure is logged, counted, retried with growing
pauses, and shown as an Event when repeating it won't help or hasn't helped for long.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from media_gateway.core.errors import ConflictError, DeadlineExceededError, MediaGatewayError
from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine import metrics
from media_gateway_operator.engine.apply import Applier
from media_gateway_operator.engine.plan import Cluster, Note, Plan, Reconciler, Snapshot
from media_gateway_operator.engine.queue import WorkQueue, jittered
from media_gateway_operator.engine.recorder import Recorder
from media_gateway_operator.kube.errors import NotLeaderError, TerminatingError
from media_gateway_operator.kube.kinds import Object, Ref
from media_gateway_operator.kube.store import Store

FAILURES_SHOWN: Final = 10
"""Passing failures in a row after which an Event tells of them."""

LAG_KEPT: Final = 1000
"""Most resources whose generation lag is a metric."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often and how long, in seconds; ``concurrency`` is workers."""

    concurrency: int = 16
    timeout_s: float = 60.0
    resync_s: float = 600.0
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=1.0, max_s=300.0))


@dataclass(frozen=True, slots=True)
class Tools:
    """What all controllers share."""

    store: Store
    cluster: Cluster
    applier: Applier
    recorder: Recorder


class Controller:
    """Keeps the resources of one kind as they are declared."""

    def __init__(self, reconciler: Reconciler[Any], tools: Tools, pace: Pace) -> None:
        self.kind = reconciler.kind
        self._reconciler = reconciler
        self._store = tools.store
        self._cluster = tools.cluster
        self._applier = tools.applier
        self._recorder = tools.recorder
        self._pace = pace
        self._lag: dict[Ref, int] = {}
        self.queue = WorkQueue(self.kind.kind, self.reconcile, pace.concurrency, pace.backoff)

    def interested(self, changed: Object) -> Iterable[Ref]:
        """Resources of this kind that depend on an object they don't own."""
        try:
            return self._reconciler.interested(changed, self._cluster)
        except Exception:  # noqa: BLE001 - asked from the watch: a defect must not make the operator deaf
            _log.exception("interest could not be told", kind=self.kind.kind)
            return ()

    def noticed(self, ref: Ref, resource: Object) -> bool:
        """A resource of this kind was seen; keeps the generation lag, and says whether there is one."""
        generation = int(resource["metadata"].get("generation") or 0)
        observed = int((resource.get("status") or {}).get("observedGeneration") or 0)
        behind = generation > observed
        if behind and (ref in self._lag or len(self._lag) < LAG_KEPT):
            self._lag[ref] = generation - observed
        elif not behind:
            self._lag.pop(ref, None)
        return behind

    def lags(self) -> Iterable[tuple[tuple[str, ...], float]]:
        """Resources whose status is behind their spec, and by how many generations."""
        return [((ref.kind.kind, ref.namespace, ref.name), lag) for ref, lag in list(self._lag.items())]

    async def run(self) -> None:
        """Work until cancelled."""
        await self.queue.run()

    async def reconcile(self, ref: Ref) -> None:
        """Look at one resource and do what its plan says; errors end here."""
        resource = self._store.find(ref)
        if resource is None:
            self.queue.forget(ref)
            self._lag.pop(ref, None)
            return
        began = time.monotonic()
        try:
            plan = await self._in_time(ref, resource)
        except NotLeaderError:
            return  # the process is about to end
        except TerminatingError:
            outcome = "terminating"
            self.queue.add_after(ref, jittered(self._pace.resync_s))
        except ConflictError as error:
            outcome = "conflict"
            self._failed(ref, resource, error, shown=False)
        except MediaGatewayError as error:
            outcome = "error"
            self._failed(ref, resource, error, shown=not error.retryable)
        except Exception as error:  # noqa: BLE001 - one resource's defect must not stop the others
            outcome = "error"
            _log.exception("reconciliation broke", resource=str(ref))
            defect = MediaGatewayError(
                f"a defect of the operator ({type(error).__name__}); its log has the details"
            )
            self._failed(ref, resource, defect, shown=True)
        else:
            outcome = "done"
            self.queue.succeeded(ref)
            wish = plan.requeue_after_s
            self.queue.add_after(ref, jittered(self._pace.resync_s) if wish is None else wish)
        metrics.reconcile_seconds.labels(self.kind.kind, outcome).observe(time.monotonic() - began)

    async def _in_time(self, ref: Ref, resource: Object) -> Plan:
        try:
            async with asyncio.timeout(self._pace.timeout_s):
                return await self._once(ref, resource)
        except TimeoutError as error:
            raise DeadlineExceededError(f"not done within {self._pace.timeout_s:g} s") from error

    async def _once(self, ref: Ref, resource: Object) -> Plan:
        children = self._store.owned(resource["metadata"]["uid"])
        snapshot = Snapshot(resource, children, datetime.now(UTC).replace(microsecond=0))
        plan = self._reconciler.desired(await self._reconciler.observe(snapshot, self._cluster))
        told = await self._applier.carry_out(resource, plan)
        for note in (*plan.notes, *told):
            self._recorder.tell(resource, note)
        after = self._store.find(ref)
        if after is not None:
            self.noticed(ref, after)
        return plan

    def _failed(self, ref: Ref, resource: Object, error: MediaGatewayError, *, shown: bool) -> None:
        failures = self.queue.failed(ref, (error.retry_after_ms or 0) / 1000)
        metrics.reconcile_errors.labels(self.kind.kind, error.code).inc()
        level = _log.info if isinstance(error, ConflictError) and failures < FAILURES_SHOWN else _log.warning
        level(
            "reconciliation failed",
            resource=str(ref),
            failures=failures,
            code=error.code,
            error=error.message,
        )
        if shown or failures >= FAILURES_SHOWN:
            self._recorder.tell(
                resource, Note("Warning", "ReconcileFailed", f"{error.message} (tried {failures} times)")
            )
