"""The watches: kopf as a source of events, and nothing of kopf anywhere else.

kopf watches; each event goes into the store, and what is new in it to the queues. No handler of kopf writes,
no finalizer, no annotation, no Event, no scan of the cluster. When kopf gives up, it is started anew here, in the same
process. A replica that does not lead watches, too, and knows everything the moment it does.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import kopf
import structlog

from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine.routes import Routes
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.kinds import (
    LABEL_MANAGED_BY,
    MANAGED_BY,
    Object,
    Ref,
    ResourceKind,
)
from media_gateway_operator.kube.store import Store
from media_gateway_operator.kube.streams import Stream, Streams

CHILDREN: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
"""Label selector of everything that is watched and not a custom resource."""

SERVER_TIMEOUT_S: Final = 300
"""The API server ends each watch after so long; it is continued where it was."""

_RESTART = Backoff(base_s=1.0, max_s=30.0)
_STEADY_S: Final = 120.0

_log = structlog.get_logger(__name__)


class Runtime:
    """Fills the store and, once this replica leads, the queues.

    Parameters
    ----------
    resources, children
        Kinds to be watched: custom resources, and what the operator makes (by label).
    namespaces
        Empty is all.
    inactivity_s
        A silent watch is opened anew after so long, in seconds.
    """

    def __init__(  # noqa: PLR0913 - each is a part that the watches feed or are fed by
        self,
        access: Access,
        client: KubeClient,
        store: Store,
        routes: Routes,
        *,
        resources: Collection[ResourceKind],
        children: Collection[ResourceKind],
        namespaces: Collection[str],
        inactivity_s: float,
    ) -> None:
        self._client = client
        self.store = store
        self._routes = routes
        self._acting = False
        self._resources = tuple(resources)
        self._children = frozenset(children)
        self._namespaces = tuple(namespaces)
        self._inactivity_s = inactivity_s
        self._to_fill: asyncio.Queue[Stream] = asyncio.Queue()
        self._unfilled: set[Stream] = set()
        self._shut: set[Stream] = set()
        self.synced = asyncio.Event()
        """Set once all that exists is in the store."""
        self.kinds = (*resources, *children)
        self.streams = Streams(
            access,
            [Stream(kind, namespace) for kind in self.kinds for namespace in self._namespaces or (None,)],
            self._relisted,
            self._refused,
        )

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Watch until cancelled.

        Parameters
        ----------
        started
            Called after each start of kopf, which puts its own signal handlers in place of the process's.
        """
        self._unfilled = set(self.streams)
        filling = asyncio.create_task(self._fill_forever(), name="filling the store")
        failures = 0
        try:
            while True:
                await self._until_served()
                began = time.monotonic()
                try:
                    await self._watch(started)
                except Exception as error:  # noqa: BLE001 - whatever it is, a deaf operator is worse
                    failures = 1 if time.monotonic() - began > _STEADY_S else failures + 1
                    pause_s = _RESTART.pause_s(failures)
                    _log.warning(
                        "the watches ended", error=repr(error), failures=failures, restart_in_s=pause_s
                    )
                    await asyncio.sleep(pause_s)
        finally:
            filling.cancel()

    async def act(self) -> None:
        """Have all that is there looked at, and from now on whatever changes."""
        self._acting = True
        for kind in self._resources:
            for ref in tuple(self.store.refs(kind)):
                if (thing := self.store.find(ref)) is not None:
                    self._changed(thing, listed=True)
                await asyncio.sleep(0)

    async def _until_served(self) -> None:
        # Without its definitions the operator waits, so that the order of installation does not matter.
        missing: list[str] = []
        while True:
            try:
                before, missing = missing, [k.plural for k in self.kinds if not await self._client.serves(k)]
            except MediaGatewayError as error:
                _log.warning("the API server can't be asked for its kinds", error=error.message)
            else:
                if not missing:
                    return
                if missing != before:
                    _log.warning("waiting for custom resource definitions; install crds/", missing=missing)
            await asyncio.sleep(2.0)
            self._client.forget_served()

    async def _watch(self, started: Callable[[], None]) -> None:
        self.streams.restart()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=list(self._namespaces),
            identity=None,
        )
        started()
        try:
            # Not kopf.run_tasks: that ends with the cancellation of every task of the loop that began after kopf.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=3.0)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        raise RuntimeError("kopf ended without saying why")

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(server=self.streams.server, aiohttp_session=self.streams.session())

        kopf.on.login(registry=registry, id="login")(login)
        for kind in self.kinds:
            kopf.on.event(
                group=kind.group, version=kind.version, plural=kind.plural,
                id=kind.plural, registry=registry, when=self._noticed,
            )(_nothing)  # fmt: skip
        return registry

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.process.ultimate_exiting_timeout = None
        settings.posting.enabled = False
        # Neither namespaces nor definitions are watched, so no right to read them is needed.
        settings.scanning.disabled = True
        settings.watching.server_timeout = SERVER_TIMEOUT_S
        settings.watching.inactivity_timeout = self._inactivity_s
        settings.watching.chunk_size = 250
        settings.watching.label_selectors[self._is_child] = CHILDREN
        settings.queueing.worker_limit = None
        # A worker holds its last event while it idles; ours has nothing to wait for.
        settings.queueing.idle_timeout = 0.1
        settings.queueing.exit_timeout = 0.1
        settings.networking.request_timeout = 30.0
        settings.networking.connect_timeout = 10.0
        settings.networking.error_backoffs = _Patience()
        settings.persistence.diffbase_storage = _NoDiffs()
        settings.persistence.progress_storage = _NoProgress()
        return settings

    def _is_child(self, resource: kopf.Resource) -> bool:
        return any((kind.group, kind.plural) == (resource.group, resource.plural) for kind in self._children)

    def _noticed(self, event: kopf.RawEvent, **_: Any) -> bool:
        # In the filter, not in the handler: what kopf does around a handler costs several times the work itself, and
        # half of the events are echoes of our own writes.
        thing: Any = event["object"]
        if event["type"] == "DELETED":
            self._gone(Ref.of(thing), thing["metadata"]["uid"], thing)
        elif self.store.put(thing):
            self._changed(thing)
        return False

    def _changed(self, thing: Object, *, listed: bool = False) -> None:
        if self._acting:
            self._routes.changed(thing, listed=listed)

    def _gone(self, ref: Ref, uid: str, thing: Object) -> None:
        if self.store.drop(ref, uid):
            self._changed(thing)

    def _relisted(self, stream: Stream) -> None:
        self._shut.discard(stream)
        self._to_fill.put_nowait(stream)

    def _refused(self, stream: Stream) -> None:
        if stream in self._shut:
            return
        self._shut.add(stream)
        whole = {one for one in self.streams if one.namespace == stream.namespace}
        if whole <= self._shut:
            _log.warning(
                "no right to see a namespace, it is left alone until there is; see that it exists and has the role",
                namespace=stream.namespace,
            )
            # What it holds can't be known; the other namespaces don't wait for it.
            self._filled(whole)

    def _filled(self, streams: Collection[Stream]) -> None:
        self._unfilled.difference_update(streams)
        if not self._unfilled and not self.synced.is_set():
            _log.info("synced", objects=len(self.store))
            self.synced.set()

    async def _fill_forever(self) -> None:
        while True:
            stream = await self._to_fill.get()
            if await self._fill(stream):
                self._filled({stream})
            else:
                # Later, and the others meanwhile.
                asyncio.get_running_loop().call_later(1.0, self._to_fill.put_nowait, stream)

    async def _fill(self, stream: Stream) -> bool:
        """List a stream's objects once its watch has begun: what is there no longer has gone unseen."""
        since = time.monotonic()
        selector = CHILDREN if stream.kind in self._children else ""
        try:
            async for thing in self._client.list(stream.kind, stream.namespace, label_selector=selector):
                if self.store.put(thing):
                    self._changed(thing, listed=True)
                # A page comes in one piece; others have their turn in between.
                await asyncio.sleep(0)
        except MediaGatewayError as error:
            _log.warning("a list failed", stream=str(stream), error=error.message)
            return False
        for ref, uid in self.store.unseen(stream.kind, stream.namespace, since):
            unseen = self.store.find(ref)
            if unseen is not None:
                self._gone(ref, uid, unseen)
        return True


async def _nothing(**_: Any) -> None:
    """The handler that the filter never lets run."""


class _Patience:
    """Pauses between kopf's tries, without an end: its requests for watches never give up."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1.0, 2.0)
        while True:
            yield 4.0


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf compares nothing."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class _NoProgress(kopf.ProgressStorage):
    """kopf remembers nothing on objects."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing."""

    def touch(self, **_: Any) -> None:
        """Change nothing."""

    def clear(self, *, essence: Any) -> Any:
        return essence
