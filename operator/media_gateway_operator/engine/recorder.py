"""Kubernetes Events on custom resources: few, aggregated, in the background.

`tell` never waits and never fails: what can't be posted in time is counted and dropped. An Event that is told again bumps
the first one's count, at most once in five minutes for a resource and reason.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from media_gateway.core.errors import MediaGatewayError
from media_gateway_operator.engine import metrics
from media_gateway_operator.engine.plan import Note
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.errors import NotLeaderError, TerminatingError
from media_gateway_operator.kube.kinds import EVENT, MANAGED_BY, Object, Ref

QUIET_S: Final = 300.0
"""A resource's Event of one reason is written at most so often, in seconds."""
REMEMBERED: Final = 4096
WAITING: Final = 1000
"""Most Events that wait to be posted."""
BURST: Final = 50.0
RATE: Final = 5.0
"""Events a second in the long run, so that a burst of resources is not doubled by its Events."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Told:
    name: str
    first: str
    written_at: float
    count: int = 0
    exists: bool = False


class Recorder:
    """Posts Events.

    Parameters
    ----------
    instance
        This replica, as the Event's source.
    """

    def __init__(self, client: KubeClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        self._waiting: asyncio.Queue[tuple[Object, Note, _Told]] = asyncio.Queue(WAITING)
        self._tokens = BURST
        self._filled_at = time.monotonic()

    def tell(self, resource: Object, note: Note) -> None:
        """Have a note shown on a resource."""
        uid, now = resource["metadata"]["uid"], time.monotonic()
        told = self._told.get((uid, note.reason))
        if told is None:
            stamp = f"{time.time_ns():x}"
            told = _Told(f"{resource['metadata']['name'][:200]}.{stamp}", _now(), float("-inf"))
            self._told[uid, note.reason] = told
            if len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
        told.count += 1
        if now - told.written_at < QUIET_S:
            metrics.events_posted.labels("aggregated").inc()
            return
        if self._waiting.full() or not self._token(now):
            metrics.events_posted.labels("dropped").inc()
            return
        told.written_at = now
        self._waiting.put_nowait((_involved(resource), note, told))

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            involved, note, told = await self._waiting.get()
            try:
                await self._post(involved, note, told)
            except (TerminatingError, NotLeaderError):
                metrics.events_posted.labels("dropped").inc()
            except MediaGatewayError as error:
                metrics.events_posted.labels("failed").inc()
                _log.warning("an Event could not be posted", reason=note.reason, error=error.message)
            else:
                metrics.events_posted.labels("posted").inc()

    async def _post(self, involved: Object, note: Note, told: _Told) -> None:
        event = self._event(involved, note, told)
        if told.exists:
            bump = {key: event[key] for key in ("count", "lastTimestamp", "message")}
            ref = Ref(EVENT, involved["namespace"], told.name)
            try:
                await self._client.patch(ref, bump)
            except MediaGatewayError as error:
                if error.code != "not_found":
                    raise
            else:
                return
        await self._client.create(event)
        told.exists = True

    def _event(self, involved: Object, note: Note, told: _Told) -> dict[str, Any]:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": told.name, "namespace": involved["namespace"]},
            "involvedObject": involved,
            "type": note.type,
            "reason": note.reason,
            "message": note.message[:1024],
            "count": told.count,
            "firstTimestamp": told.first,
            "lastTimestamp": _now(),
            "source": {"component": MANAGED_BY},
            "reportingComponent": MANAGED_BY,
            "reportingInstance": self._instance,
        }

    def _token(self, now: float) -> bool:
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _involved(resource: Object) -> Object:
    metadata = resource["metadata"]
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
