"""A namespace in memory with one MediaGateway: plans are carried out on it, and controllers do as a test says.

For the reconciler alone: no engine, no API server. Applying replaces what a plan declares, as one applier's server-side
apply does.
"""

import asyncio
import base64
import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from media_gateway_operator.engine.plan import Plan, SecretKeys, Snapshot
from media_gateway_operator.kube.kinds import (
    API_VERSION,
    DEPLOYMENT,
    JOB,
    POD,
    SECRET,
    STATEFUL_SET,
    Object,
    Ref,
    ResourceKind,
)
from media_gateway_operator.mediagateway.environment import Release
from media_gateway_operator.mediagateway.reconciler import MediaGatewayReconciler

NAMESPACE = "media"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RELEASE = Release("registry.example/media", "1.4.0")

PRODUCTION: Mapping[str, Any] = {
    "dependencies": {
        "postgres": {"dsnSecretRef": {"name": "servers", "key": "database"}},
        "redis": {"dsnSecretRef": {"name": "servers", "key": "redis"}},
    }
}
DEVELOPMENT: Mapping[str, Any] = {"profile": "Development"}


class World:
    """The namespace; `reconcile` is one turn of the operator.

    Attributes
    ----------
    objects : dict
        Everything but the gateway and its pods.
    served : set of str
        Kinds of others that the cluster knows.
    writes : list of Ref
        What the last turn changed.
    """

    def __init__(self, spec: Mapping[str, Any], *, release: Release = RELEASE) -> None:
        self.reconciler = MediaGatewayReconciler(release)
        self.now = START
        self.objects: dict[Ref, Object] = {}
        self.running: list[Object] = []
        self.served: set[str] = set()
        self.writes: list[Ref] = []
        self.gateway: Object = {
            "apiVersion": API_VERSION,
            "kind": "MediaGateway",
            "metadata": {
                "name": "main",
                "namespace": NAMESPACE,
                "uid": "g-1",
                "generation": 1,
                "annotations": {},
            },
            "spec": json.loads(json.dumps(spec)),
        }
        self._uids = 0

    # --- what a user does ---------------------------------------------------------------------------------------------

    def edit(self, **spec: Any) -> None:
        """Change the spec, deeply merged."""
        _merge(self.gateway["spec"], spec)
        self.gateway["metadata"]["generation"] += 1

    def annotate(self, name: str, value: str) -> None:
        """Set an annotation, which is no new generation."""
        self.gateway["metadata"]["annotations"][name] = value

    def secret(self, name: str, **values: str) -> None:
        """Create or replace a Secret."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        ref = Ref(SECRET, NAMESPACE, name)
        self.objects[ref] = {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(ref), "data": data}

    def upgrade(self, version: str) -> None:
        """Another operator, with other images."""
        self.reconciler = MediaGatewayReconciler(Release(RELEASE.registry, version))

    # --- what the operator does ---------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What the operator would do."""
        snapshot = Snapshot(copy.deepcopy(self.gateway), copy.deepcopy(self.children()), self.now)

        async def think() -> Plan:
            return self.reconciler.desired(await self.reconciler.observe(snapshot, WorldCluster(self)))

        return asyncio.run(think())

    def reconcile(self) -> Plan:
        """One turn."""
        plan = self.plan()
        self.writes = []
        for manifest in plan.objects:
            self._apply(manifest)
        for ref in plan.delete:
            if self.objects.pop(ref, None) is not None:
                self.writes.append(ref)
        if plan.status != self.gateway.get("status"):
            self.gateway["status"] = json.loads(json.dumps(plan.status))
            self.writes.append(Ref.of(self.gateway))
        return plan

    def settle(self, *, turns: int = 12, failing: str = "") -> Plan:
        """Turns with a willing cluster in between, until nothing is written any more.

        Parameters
        ----------
        failing
            Image of which no pod gets ready: its Deployment exceeds its deadline.
        """
        for _ in range(turns):
            plan = self.reconcile()
            wrote = bool(self.writes)
            if not self.work(failing=failing) and not wrote:
                return plan
        raise AssertionError(f"not settled after {turns} turns; last writes: {list(map(str, self.writes))}")

    # --- what the controllers do --------------------------------------------------------------------------------------

    def work(self, *, failing: str = "") -> bool:
        """Let Jobs complete and pods get ready; says whether that changed anything."""
        before = json.dumps([*self.objects.values(), *self.running], sort_keys=True)
        for ref, live in self.objects.items():
            if ref.kind == JOB and not live.get("status"):
                live["status"] = job_status("Complete")
            elif ref.kind == DEPLOYMENT:
                image = live["spec"]["template"]["spec"]["containers"][0]["image"]
                live["status"] = deployment_status(live, late=bool(failing) and failing in image)
            elif ref.kind == STATEFUL_SET:
                live["status"] = stateful_status(live)
                self._pod_of(live)
        return json.dumps([*self.objects.values(), *self.running], sort_keys=True) != before

    def lose_pod(self, name: str) -> None:
        """A StatefulSet's pod is gone, with what it held."""
        self.running = [one for one in self.running if one["metadata"]["name"] != name]

    # --- what there is ------------------------------------------------------------------------------------------------

    def children(self) -> list[Object]:
        """What the engine would give: watched children."""
        return [one for ref, one in self.objects.items() if ref.kind != SECRET and _is_child(one)]

    def of(self, kind: ResourceKind, name: str) -> Object:
        """An object that must be there."""
        return self.objects[Ref(kind, NAMESPACE, name)]

    def names(self, kind: ResourceKind) -> list[str]:
        """Names of all of a kind."""
        return sorted(ref.name for ref in self.objects if ref.kind == kind)

    def condition(self, type_: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = self.full_condition(type_)
        return found["status"], found["reason"]

    def full_condition(self, type_: str) -> Object:
        """A condition."""
        found: Object = next(one for one in self.gateway["status"]["conditions"] if one["type"] == type_)
        return found

    def image(self, component: str) -> str:
        """Image that a component's Deployment asks for."""
        template = self.of(DEPLOYMENT, f"main-{component}")["spec"]["template"]
        found: str = template["spec"]["containers"][0]["image"]
        return found

    def _apply(self, manifest: Object) -> None:
        ref = Ref.of(manifest)
        declared: Object = json.loads(json.dumps(manifest))
        live = self.objects.get(ref)
        if live is None:
            self._uids += 1
            declared["metadata"] |= _metadata(ref) | {"uid": f"u-{self._uids}", "generation": 1}
            declared["metadata"]["ownerReferences"] = [
                {"kind": "MediaGateway", "name": "main", "uid": "g-1", "controller": True}
            ]
            if ref.kind == DEPLOYMENT:
                declared["spec"].setdefault("replicas", 1)
            self.objects[ref] = declared
            self.writes.append(ref)
            return
        kept = {name: live["metadata"][name] for name in ("uid", "generation", "ownerReferences")}
        new = {**declared, "metadata": {**declared["metadata"], **kept}}
        if "status" in live:
            new["status"] = live["status"]
        if ref.kind == DEPLOYMENT:
            new["spec"].setdefault("replicas", live["spec"]["replicas"])
        if new.get("spec") != live.get("spec"):
            new["metadata"]["generation"] += 1
        if new != live:
            self.objects[ref] = new
            self.writes.append(ref)

    def _pod_of(self, live: Object) -> None:
        name = f"{live['metadata']['name']}-0"
        if any(one["metadata"]["name"] == name for one in self.running):
            return
        self._uids += 1
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"p-{self._uids}",
            "labels": live["spec"]["template"]["metadata"]["labels"],
        }
        self.running.append({"apiVersion": "v1", "kind": POD.kind, "metadata": metadata})

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on."""
        self.now += timedelta(seconds=seconds)


class WorldCluster:
    """The `Cluster` of the contract, over a `World`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def find(self, ref: Ref) -> Object | None:
        return self._world.objects.get(ref)

    def list(self, kind: ResourceKind, namespace: str) -> Sequence[Object]:
        found = self._world.objects.items()
        return [one for ref, one in found if (ref.kind, ref.namespace) == (kind, namespace)]

    async def get(self, ref: Ref) -> Object | None:
        return self._world.objects.get(ref)

    async def secret_keys(self, namespace: str, name: str) -> SecretKeys | None:
        found = self._world.objects.get(Ref(SECRET, namespace, name))
        if found is None:
            return None
        values = {key: base64.b64decode(value) for key, value in found["data"].items()}
        return SecretKeys({key: hashlib.sha256(value).hexdigest()[:16] for key, value in values.items()})

    async def pods(self, namespace: str, label_selector: str) -> Sequence[Object]:
        wanted = dict(part.split("=") for part in label_selector.split(","))
        return [one for one in self._world.running if wanted.items() <= one["metadata"]["labels"].items()]

    async def serves(self, kind: ResourceKind) -> bool:
        return kind.kind in self._world.served


def deployment_status(live: Object, *, late: bool = False) -> Object:
    """As kube-controller-manager writes it: all pods there, or none of the new ones and the deadline over."""
    wanted = live["spec"]["replicas"]
    progress = ("False", "ProgressDeadlineExceeded") if late else ("True", "NewReplicaSetAvailable")
    return {
        "observedGeneration": live["metadata"]["generation"],
        "replicas": wanted + late,
        "updatedReplicas": 1 if late else wanted,
        "readyReplicas": wanted,
        "availableReplicas": wanted,
        "conditions": [{"type": "Progressing", "status": progress[0], "reason": progress[1], "message": "…"}],
    }


def stateful_status(live: Object) -> Object:
    """All there."""
    return {
        "observedGeneration": live["metadata"]["generation"],
        "replicas": 1,
        "readyReplicas": 1,
        "currentRevision": "r",
        "updateRevision": "r",
    }


def job_status(type_: str, reason: str = "") -> Object:
    """A finished Job."""
    return {"conditions": [{"type": type_, "status": "True", "reason": reason}]}


def as_yaml(objects: Sequence[Object]) -> str:
    """Manifests as a file to be read."""
    return yaml.safe_dump_all(json.loads(json.dumps(list(objects))), sort_keys=False, width=110)


def _is_child(one: Object) -> bool:
    return bool(one["metadata"].get("ownerReferences"))


def _metadata(ref: Ref) -> Object:
    return {"name": ref.name, "namespace": ref.namespace}


def _merge(into: Any, change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = json.loads(json.dumps(value))
