"""The contract between the engine and a kind's reconciler: observe → `desired` → `Plan` → carried out by the engine.

A reconciler never writes. ``observe`` gathers what the decision needs, ``desired`` is a pure function of it (equal input,
equal plan, no clock, no network), and the engine does what the plan says and nothing else: so that a crash at any point
is followed by the same decision again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from media_gateway_operator.kube.kinds import Object, Ref, ResourceKind


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A custom resource, what it owns, and the time.

    Attributes
    ----------
    resource : Object
        The custom resource with its status. Not to be changed.
    children : Sequence[Object]
        Watched objects whose controller is the resource, and those whose controller is one of these (the Jobs of a
        CronJob).
    now : datetime
        Aware UTC, whole seconds.
    """

    resource: Object
    children: Sequence[Object]
    now: datetime

    def child(self, kind: ResourceKind, name: str) -> Object | None:
        """The child of that kind and name."""
        for one in self.children:
            if one["kind"] == kind.kind and one["metadata"]["name"] == name:
                return one
        return None


@dataclass(frozen=True, slots=True)
class Note:
    """An Event to be shown on the custom resource. ``reason`` is API, listed in docs/custom-resources.md."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What should be.

    Attributes
    ----------
    objects : Sequence[Object]
        Children as declared, applied in this order. Whole manifests with ``apiVersion``, ``kind`` and
        ``metadata.{name,namespace,labels}``; the engine adds the owner reference and the applied hash. A field not
        declared here belongs to whoever sets it.
    delete : Sequence[Ref]
        Children to be deleted (background propagation); absent ones are fine. The custom resource itself may be one
        (a TTL).
    status : Object
        The whole status but what `PROGRESS_MANAGER` owns. Equal to the live one, nothing is written.
    requeue_after_s : float | None
        When to look again without an event. None waits for events and the usual resync.
    notes : Sequence[Note]
        Events; repeated ones are aggregated by the engine.
    """

    objects: Sequence[Object] = ()
    delete: Sequence[Ref] = ()
    status: Object
    requeue_after_s: float | None = None
    notes: Sequence[Note] = ()


class Cluster(Protocol):
    """What a reconciler may ask while it observes."""

    def find(self, ref: Ref) -> Object | None:
        """A watched object, from the store: no request."""

    def list(self, kind: ResourceKind, namespace: str) -> Sequence[Object]:
        """Watched objects of a namespace, from the store: no request."""

    async def get(self, ref: Ref) -> Object | None:
        """Any object, from the API server."""

    async def secret_keys(self, namespace: str, name: str) -> "SecretKeys | None":
        """Which keys a Secret has, and a digest of its values; None if there is no such Secret. Kept for some seconds."""

    async def pods(self, namespace: str, label_selector: str) -> Sequence[Object]:
        """Pods, from the API server (at most 20)."""

    async def serves(self, kind: ResourceKind) -> bool:
        """Whether the API server knows a kind (a CRD of somebody else's); kept for some minutes."""


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """What may be known of a Secret: never its values.

    Attributes
    ----------
    digests : dict[str, str]
        Key to the first 16 hex digits of the SHA-256 of its value.
    """

    digests: dict[str, str]


O = TypeVar("O")  # noqa: E741 - what a kind observes


class Reconciler(Protocol[O]):
    """One kind's logic; an instance lives as long as the process and keeps no state of single objects."""

    kind: ResourceKind

    async def observe(self, snapshot: Snapshot, cluster: Cluster) -> O:
        """What `desired` needs; reads only."""

    def desired(self, observed: O) -> Plan:
        """The plan; pure."""

    def interested(self, changed: Object, cluster: Cluster) -> Sequence[Ref]:
        """Resources of this kind to look at again because an object that they don't own has changed or gone."""


def condition(
    type_: str,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str = "",
    *,
    generation: int,
) -> dict[str, Any]:
    """A condition without its transition time, which `with_times` adds."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message[:1024],
        "observedGeneration": generation,
    }


def with_times(
    conditions: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Conditions with ``lastTransitionTime``: kept from before where the status is the same, else now."""
    since = {(one["type"], one["status"]): one.get("lastTransitionTime") for one in before}
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {**one, "lastTransitionTime": since.get((one["type"], one["status"])) or stamp} for one in conditions
    ]
