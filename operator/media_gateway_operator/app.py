"""The operator as a whole: parts put together, started in order, stopped in order.

Order of the end: the lease is released first, so that the other replica acts at once and this one writes no more; then
the queues, the watches and the ports are closed.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine import metrics
from media_gateway_operator.engine.apply import Applier
from media_gateway_operator.engine.cluster import LiveCluster
from media_gateway_operator.engine.controller import Controller, Pace, Tools
from media_gateway_operator.engine.lease import Lease, Terms
from media_gateway_operator.engine.plan import Reconciler
from media_gateway_operator.engine.progress_door import ProgressDoor
from media_gateway_operator.engine.recorder import Recorder
from media_gateway_operator.engine.routes import Routes
from media_gateway_operator.engine.server import probes_app, serving
from media_gateway_operator.engine.watchdog import EXIT_LOST, Watchdog
from media_gateway_operator.ingestionjob.observed import Settings as IngestionSettings
from media_gateway_operator.ingestionjob.progress import ProgressBoard, Report
from media_gateway_operator.ingestionjob.reconciler import IngestionJobReconciler
from media_gateway_operator.kube import kinds
from media_gateway_operator.kube.client import KubeClient, Limits
from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.kinds import LEASE, Ref, ResourceKind
from media_gateway_operator.kube.store import Store
from media_gateway_operator.mediagateway.environment import Release
from media_gateway_operator.mediagateway.reconciler import MediaGatewayReconciler
from media_gateway_operator.runtime import Runtime
from media_gateway_operator.settings import OperatorSettings

CHILDREN: Final[tuple[ResourceKind, ...]] = (
    kinds.DEPLOYMENT,
    kinds.STATEFUL_SET,
    kinds.JOB,
    kinds.CRON_JOB,
    kinds.SERVICE,
    kinds.CONFIG_MAP,
    kinds.SERVICE_ACCOUNT,
    kinds.DISRUPTION_BUDGET,
    kinds.NETWORK_POLICY,
)
"""Kinds of children that are watched. The others are read when they are needed."""

UNREADY_S: Final = 30.0
"""Readiness ends when the API server has not answered for so long, in seconds."""

STOP_S: Final = 5.0
"""Longest that cancelled tasks may take to end, in seconds."""

_log = structlog.get_logger(__name__)


def reconcilers(settings: OperatorSettings) -> Sequence[Reconciler[Any]]:
    """What the operator knows how to do; a further kind is a further row."""
    release = Release(settings.image_registry, settings.image_version)
    return (
        MediaGatewayReconciler(release),
        IngestionJobReconciler(
            IngestionSettings(
                release=release,
                progress_address=settings.progress_address,
                stalled_after_s=settings.stalled_after_s,
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class Operator:
    """The parts of one process."""

    settings: OperatorSettings
    lease: Lease
    runtime: Runtime
    controllers: Sequence[Controller]
    recorder: Recorder
    board: ProgressBoard
    door: ProgressDoor[Report]

    async def run(self) -> None:
        """Serve, wait for the lease, act until a signal or a failure.

        Raises
        ------
        NotConfiguredError
            A port can't be listened on.
        RuntimeError
            A part that never ends has ended.
        """
        settings = self.settings
        async with AsyncExitStack() as stack:
            signals = _Signals()
            signals.take()
            probes = probes_app(self._not_alive, self._not_ready)
            port = await stack.enter_async_context(serving(probes, settings.host, settings.port, "PORT"))
            door = await stack.enter_async_context(
                serving(self.door.app(), settings.host, settings.progress_port, "PROGRESS_PORT")
            )
            _log.info("listening", probes=port, progress=door, identity=settings.identity)
            stack.callback(self._register_gauges())
            stack.enter_context(Watchdog(asyncio.get_running_loop(), lambda: self.lease.lost))
            await self._lead(signals)

    async def _lead(self, signals: "_Signals") -> None:
        stopping = asyncio.create_task(signals.stop.wait(), name="stop")
        acquiring = asyncio.create_task(self.lease.acquire(), name="acquiring the lease")
        # Also while another leads: to list thousands of objects only then would cost most of the time of a takeover.
        watching = asyncio.create_task(self.runtime.run(signals.take), name="watches")
        tasks: set[asyncio.Task[Any]] = {acquiring, stopping, watching}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            _raise_first(done & {watching})
            acquiring.result()
            await self.runtime.act()
            work = {watching} | {
                asyncio.create_task(run, name=name)
                for name, run in (
                    ("the lease", self.lease.keep()),
                    ("events", self.recorder.run()),
                    ("progress", self.board.run()),
                    *((one.kind.kind, self._reconcile(one)) for one in self.controllers),
                )
            }
            tasks |= work
            done, _ = await asyncio.wait({stopping, *work}, return_when=asyncio.FIRST_COMPLETED)
            if self.lease.lost:
                # At once and without good-byes: whatever is under way here may be somebody else's by now.
                os._exit(EXIT_LOST)
            _raise_first(done & work)
        finally:
            await self.lease.release()
            await _cancel(tasks)

    async def _reconcile(self, controller: Controller) -> None:
        # Before everything is known, each child would look absent.
        await self.runtime.synced.wait()
        await controller.run()

    def _not_alive(self) -> str | None:
        for stream, age_s in self.runtime.streams.ages().items():
            if age_s > self.settings.watch_stale_s:
                return f"nothing was heard of {stream} for {age_s:.0f} s"
        return None

    def _not_ready(self) -> str | None:
        silent_s = time.monotonic() - self.lease.looked_at
        return None if silent_s < UNREADY_S else f"the API server has not answered for {silent_s:.0f} s"

    def _register_gauges(self) -> Callable[[], None]:
        controllers, streams = self.controllers, self.runtime.streams
        gauges = (
            metrics.on_scrape(
                "mgw_operator_watch_age_seconds",
                "How long nothing was heard of a watch, in seconds",
                ("kind", "namespace"),
                lambda: [((s.kind.kind, s.namespace or ""), age) for s, age in streams.ages().items()],
            ),
            metrics.on_scrape(
                "mgw_operator_queue_age_seconds",
                "How long the first in line has waited, in seconds",
                ("kind",),
                lambda: [((one.kind.kind,), one.queue.age_s()) for one in controllers],
            ),
            metrics.on_scrape(
                "mgw_operator_queue_length",
                "Resources in line",
                ("kind",),
                lambda: [((one.kind.kind,), len(one.queue)) for one in controllers],
            ),
            metrics.on_scrape(
                "mgw_operator_generation_lag",
                "Generations by which a resource's status is behind its spec; only where it is",
                ("kind", "namespace", "name"),
                lambda: [sample for one in controllers for sample in one.lags()],
            ),
        )

        def unregister() -> None:
            for gauge in gauges:
                gauge()

        return unregister


@asynccontextmanager
async def assembled(
    settings: OperatorSettings, access: Access, known: Sequence[Reconciler[Any]]
) -> AsyncIterator[Operator]:
    """The parts, put together; the sessions with the API server are closed after the block."""
    async with AsyncExitStack() as stack:
        # Renewals never stand in line behind the work.
        own = KubeClient(access, limits=Limits(in_flight=2, timeout_s=settings.lease_renew_deadline_s / 2))
        stack.push_async_callback(own.close)
        lease = _lease(settings, own)
        limits = Limits(
            in_flight=settings.api_in_flight, rate=settings.api_rate, timeout_s=settings.api_timeout_s
        )
        client = KubeClient(access, limits=limits, fence=lease)
        stack.push_async_callback(client.close)
        store = Store()
        routes = Routes(store)
        resources = tuple(one.kind for one in known)
        recorder = Recorder(client, settings.identity)
        applier = Applier(client, store, frozenset((*resources, *CHILDREN)), routes.written, routes.changed)
        tools = Tools(store, LiveCluster(client, store), applier, recorder)
        controllers = [Controller(one, tools, _pace(settings)) for one in known]
        for controller in controllers:
            routes.add(controller)
        board = ProgressBoard(client, store.find, store.put, routes.wake)
        yield Operator(
            settings,
            lease,
            Runtime(
                access,
                client,
                store,
                routes,
                resources=resources,
                children=CHILDREN,
                namespaces=settings.watch_namespaces,
                inactivity_s=settings.watch_inactivity_s,
            ),
            controllers,
            recorder,
            board,
            ProgressDoor(
                client, store, board, Report, lambda: None if lease.leads else lease.leader_address or ""
            ),
        )


def _lease(settings: OperatorSettings, client: KubeClient) -> Lease:
    terms = Terms(
        duration_s=settings.lease_duration_s,
        renew_deadline_s=settings.lease_renew_deadline_s,
        retry_s=settings.lease_retry_s,
    )
    address = settings.advertised_address
    if address and ":" not in address.rpartition("]")[2]:
        address = f"{address}:{settings.progress_port}"
    return Lease(
        client,
        Ref(LEASE, settings.lease_namespace or settings.own_namespace, settings.lease_name),
        settings.identity,
        terms=terms,
        address=f"http://{address}" if address else None,
    )


def _pace(settings: OperatorSettings) -> Pace:
    return Pace(
        concurrency=settings.concurrency,
        timeout_s=settings.reconcile_timeout_s,
        resync_s=settings.resync_s,
        backoff=Backoff(base_s=settings.backoff_base_s, max_s=settings.backoff_max_s),
    )


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    _, late = await asyncio.wait(tasks, timeout=STOP_S)
    if late:
        _log.warning("tasks did not end in time", tasks=sorted(task.get_name() for task in late))


def _raise_first(done: Iterable[asyncio.Task[Any]]) -> None:
    for task in done:
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            raise RuntimeError(f"{task.get_name()} failed") from problem
        raise RuntimeError(f"{task.get_name()} ended")


class _Signals:
    """SIGTERM and SIGINT set `stop`; the second one ends the process where it stands, with status 128 + signal."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()

    def take(self) -> None:
        """Handle the signals here, whoever has taken them meanwhile."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._handle, number)

    def _handle(self, number: int) -> None:
        if self.stop.is_set():
            os._exit(128 + number)
        _log.info("stopping", signal=signal.Signals(number).name)
        self.stop.set()
