"""A namespace in memory in which one IngestionJob lives: what the engine and kube-controller-manager would do, by hand.

Time stands still until `World.pass_time`. Pods that are told to stop are there until `World.stop_pods`, as real ones are.
"""

import pickle
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from media_gateway_operator.crds.ingestion import IngestionJobStatus
from media_gateway_operator.engine.plan import Note, Plan, SecretKeys, Snapshot
from media_gateway_operator.ingestionjob.observed import Settings
from media_gateway_operator.ingestionjob.outcome import format_time
from media_gateway_operator.ingestionjob.reconciler import IngestionJobReconciler
from media_gateway_operator.ingestionjob.status import OF_PROGRESS
from media_gateway_operator.kube.kinds import (
    API_VERSION,
    CRON_JOB,
    INGESTION_JOB,
    JOB,
    MEDIA_GATEWAY,
    Object,
    Ref,
    ResourceKind,
)
from media_gateway_operator.mediagateway.environment import Release

T = TypeVar("T")

NAMESPACE = "media"
BEGIN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DEMO: Object = {"source": {"type": "Demo", "demo": {}}}
SETTINGS = Settings(
    release=Release(registry="registry.test/mg", version="1.2.3"),
    progress_address="http://operator.system.svc:8088",
)


def result(answer: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        answer.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits")


def gateway(name: str = "gw", *, migrated: bool = True) -> Object:
    """A MediaGateway of profile Development."""
    return {
        "apiVersion": API_VERSION,
        "kind": MEDIA_GATEWAY.kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"},
        "spec": {"profile": "Development"},
        "status": {"conditions": [{"type": "Migrated", "status": "True" if migrated else "False"}]},
    }


class World:
    """Everything that is stored, and the operator's reconciler.

    Attributes
    ----------
    writes : list of str
        What was written, in order.
    notes : list of Note
        All Events.
    requeue_s : float | None
        When the last plan wanted to be made again.
    """

    def __init__(self, spec: Object | None = None, name: str = "films") -> None:
        self.now = BEGIN
        self.cr: Object | None = {
            "apiVersion": API_VERSION,
            "kind": INGESTION_JOB.kind,
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": "uid-cr", "generation": 1},
            "spec": {**DEMO, **(spec or {})},
        }
        self.gateways: dict[str, Object] = {"gw": gateway()}
        self.secrets: dict[str, dict[str, str]] = {}
        self.children: dict[tuple[str, str], Object] = {}
        self.pods: dict[str, Object] = {}
        self.writes: list[str] = []
        self.notes: list[Note] = []
        self.asked_for_pods = 0
        self.requeue_s: float | None = None
        self._number = 0
        self.reconciler = IngestionJobReconciler(SETTINGS)

    # The engine.

    def plan(self) -> Plan:
        """The plan for things as they are."""
        assert self.cr is not None
        snapshot = Snapshot(_copy(self.cr), _copy(list(self.children.values())), self.now)
        seen = result(self.reconciler.observe(snapshot, View(self)))
        before = _copy(seen.snapshot)
        plan = self.reconciler.desired(seen)
        assert seen.snapshot == before, "what was observed was changed"
        return plan

    def reconcile(self) -> list[str]:
        """Carry one plan out, and say what was written."""
        if self.cr is None:
            return []
        plan, count = self.plan(), len(self.writes)
        for manifest in plan.objects:
            self._apply(manifest)
        for ref in [one for one in plan.delete if one.kind != INGESTION_JOB]:
            self.delete(ref.kind.kind, ref.name, by="operator")
        self._status(plan.status)
        self.notes += plan.notes
        self.requeue_s = plan.requeue_after_s
        if any(one.kind == INGESTION_JOB for one in plan.delete):
            self.cr = None
            self.children.clear()
            self.writes.append("delete IngestionJob")
        return self.writes[count:]

    def settle(self) -> list[str]:
        """Reconcile until nothing is written any more, and say what was."""
        written: list[str] = []
        for _ in range(8):
            self.controller()
            more = self.reconcile()
            written += more
            if not more:
                return written
        raise AssertionError(f"it does not come to rest: {written}")

    def _apply(self, manifest: Object) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        live = self.children.get(key)
        assert self.cr is not None
        if live is None:
            self._number += 1
            owner = {"kind": INGESTION_JOB.kind, "uid": self.cr["metadata"]["uid"], "controller": True}
            made = _copy(manifest)
            made["metadata"] |= {
                "uid": f"uid-{self._number}",
                "creationTimestamp": format_time(self.now),
                "ownerReferences": [owner],
            }
            self.children[key] = made
            self.writes.append(f"create {key[0]}")
            return
        merged = {**_copy(live), "spec": _copy(manifest["spec"])}
        merged["metadata"] = {**live["metadata"], **_copy(manifest["metadata"])}
        if merged == live:
            return
        if key[0] == JOB.kind:
            for part in ("template", "podFailurePolicy"):
                assert merged["spec"][part] == live["spec"][part], f"422: spec.{part} of a Job is immutable"
        self.children[key] = merged
        self.writes.append(f"apply {key[0]}")

    def _status(self, status: Object) -> None:
        IngestionJobStatus.model_validate({**status, **self._progress()})
        assert self.cr is not None
        if {**status, **self._progress()} != self.cr.get("status"):
            self.cr["status"] = {**_copy(status), **self._progress()}
            self.writes.append("status")

    def _progress(self) -> Object:
        assert self.cr is not None
        return {k: v for k, v in (self.cr.get("status") or {}).items() if k in OF_PROGRESS}

    # People, and the rest of the cluster.

    def change(self, **spec: Any) -> None:
        """Change the spec; None removes a field."""
        assert self.cr is not None
        new = {**self.cr["spec"], **spec}
        self.cr["spec"] = {name: value for name, value in new.items() if value is not None}
        self.cr["metadata"]["generation"] += 1

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def report(self, read: int) -> None:
        """What the progress board would write."""
        assert self.cr is not None
        self.cr["status"]["progress"] = {"read": read, "lastUpdateTime": format_time(self.now)}

    def migrate(self, *, done: bool) -> None:
        """Set the gateway's condition Migrated."""
        self.gateways["gw"]["status"] = gateway(migrated=done)["status"]

    def delete(self, kind: str, name: str, by: str = "hand") -> None:
        """Delete a child; its pods are told to stop, and its own children go too."""
        gone = self.children.pop((kind, name), None)
        if gone is None:
            return
        if by == "operator":
            self.writes.append(f"delete {kind}")
        uid = gone["metadata"]["uid"]
        for pod in self._pods_of(uid):
            pod["metadata"]["deletionTimestamp"] = format_time(self.now)
        for (inner_kind, inner), one in list(self.children.items()):
            if one["metadata"]["ownerReferences"][0]["uid"] == uid:
                self.delete(inner_kind, inner)

    # kube-controller-manager and the kubelet.

    def controller(self) -> None:
        """One round of the Job controller."""
        for job in self.jobs():
            status = job.setdefault("status", {})
            uid, now = job["metadata"]["uid"], format_time(self.now)
            if _finished(job):
                continue
            alive = [one for one in self._pods_of(uid) if "deletionTimestamp" not in one["metadata"]]
            going = [one for one in self._pods_of(uid) if _alive(one)]
            if job["spec"].get("suspend"):
                for pod in alive:
                    if _alive(pod):
                        pod["metadata"]["deletionTimestamp"] = now
                status["conditions"] = [{"type": "Suspended", "status": "True"}]
                status |= {"active": 0, "ready": 0, "terminating": len(going)}
                continue
            if "startTime" not in status or status.get("conditions"):
                status["startTime"] = now
                status["conditions"] = []
            if not going:
                self._pod(job)
            stopping = [one for one in self._pods_of(uid) if _alive(one) and one not in alive]
            running = [one for one in self._pods_of(uid) if _alive(one) and one not in stopping]
            status["active"], status["terminating"] = len(running), len(stopping)
            status["ready"] = sum(one["status"]["phase"] == "Running" for one in running)

    def run_cron(self, minute: int) -> None:
        """Let a CronJob start a run."""
        cron = next(one for one in self.children.values() if one["kind"] == CRON_JOB.kind)
        template = _copy(cron["spec"]["jobTemplate"])
        name = f"{cron['metadata']['name']}-{minute}"
        owner = {"kind": CRON_JOB.kind, "uid": cron["metadata"]["uid"], "controller": True}
        metadata = {
            **template["metadata"],
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "creationTimestamp": format_time(self.now),
            "ownerReferences": [owner],
        }
        self.children[JOB.kind, name] = {
            "apiVersion": "batch/v1",
            "kind": JOB.kind,
            "metadata": metadata,
            "spec": template["spec"],
        }
        cron.setdefault("status", {})["lastScheduleTime"] = format_time(self.now)

    def start_pods(self) -> None:
        """Let pending pods get ready."""
        for pod in self.pods.values():
            if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                pod["status"] = {"phase": "Running"}
        self.controller()

    def stop_pods(self) -> None:
        """Let pods that were told to stop be gone."""
        for name in [one for one, pod in self.pods.items() if "deletionTimestamp" in pod["metadata"]]:
            del self.pods[name]
        self.controller()

    def exit(self, code: int, log: str = "") -> None:
        """Let the running pods end."""
        for job in self.jobs():
            for pod in self._pods_of(job["metadata"]["uid"]):
                if _alive(pod) and "deletionTimestamp" not in pod["metadata"]:
                    self._end(job, pod, code, log)
        self.controller()

    def _end(self, job: Object, pod: Object, code: int, log: str) -> None:
        ended = {"exitCode": code, "finishedAt": format_time(self.now), "message": log}
        pod["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "ingestion", "state": {"terminated": ended}}],
        }
        status, now = job["status"], format_time(self.now)
        status |= {"active": 0, "ready": 0}
        if not code:
            status |= {"succeeded": 1, "completionTime": now}
            status["conditions"] = [{"type": "Complete", "status": "True", "lastTransitionTime": now}]
            return
        status["failed"] = status.get("failed", 0) + 1
        reason = "PodFailurePolicy" if 64 <= code <= 78 else ""
        if not reason and status["failed"] > job["spec"]["backoffLimit"]:
            reason = "BackoffLimitExceeded"
        if reason:
            end = {"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": now}
            status["conditions"] = [end]

    def _pod(self, job: Object) -> None:
        self._number += 1
        name = f"{job['metadata']['name']}-{self._number}"
        template = job["spec"]["template"]["metadata"]
        labels = {**template["labels"], "batch.kubernetes.io/job-name": job["metadata"]["name"]}
        self.pods[name] = {
            "metadata": {
                "name": name,
                "uid": name,
                "labels": labels,
                "ownerReferences": [{"uid": job["metadata"]["uid"], "controller": True}],
                "creationTimestamp": format_time(self.now),
            },
            "status": {"phase": "Pending"},
        }

    def _pods_of(self, uid: str) -> Sequence[Object]:
        return [pod for pod in self.pods.values() if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    # What a test looks at.

    def jobs(self) -> Sequence[Object]:
        """Jobs that there are."""
        return [one for one in self.children.values() if one["kind"] == JOB.kind]

    def job(self) -> Object:
        """The only Job."""
        (only,) = self.jobs()
        return only

    def alive(self) -> int:
        """Pods that may be writing."""
        return sum(pod["status"]["phase"] == "Running" for pod in self.pods.values())

    def status(self) -> Object:
        """The status of the IngestionJob."""
        assert self.cr is not None
        found: Object = self.cr.get("status") or {}
        return found

    def says(self, condition: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        one = next(one for one in self.status()["conditions"] if one["type"] == condition)
        return one["status"], one["reason"]

    def message(self, condition: str) -> str:
        """Message of a condition."""
        found = next(one for one in self.status()["conditions"] if one["type"] == condition)
        return str(found["message"])

    def told(self) -> list[str]:
        """Reasons of the Events, in order."""
        return [note.reason for note in self.notes]


class View:
    """`World` as reconcilers see it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def find(self, ref: Ref) -> Object | None:
        if ref.kind == MEDIA_GATEWAY:
            return self._world.gateways.get(ref.name)
        return self._world.children.get((ref.kind.kind, ref.name))

    async def get(self, ref: Ref) -> Object | None:
        return self.find(ref)

    async def secret_keys(self, namespace: str, name: str) -> SecretKeys | None:
        assert namespace == NAMESPACE
        return SecretKeys(self._world.secrets[name]) if name in self._world.secrets else None

    async def pods(self, namespace: str, label_selector: str) -> Sequence[Object]:
        assert namespace == NAMESPACE
        self._world.asked_for_pods += 1
        key, _, value = label_selector.partition("=")
        return [pod for pod in self._world.pods.values() if pod["metadata"]["labels"].get(key) == value]

    async def serves(self, kind: ResourceKind) -> bool:
        raise AssertionError(f"nobody asks for {kind}")

    def list(self, kind: ResourceKind, namespace: str) -> Sequence[Object]:
        assert namespace == NAMESPACE
        if kind == INGESTION_JOB:
            return [self._world.cr] if self._world.cr else []
        return [*self._world.gateways.values()]


def _finished(job: Object) -> bool:
    return any(one["type"] in {"Complete", "Failed"} for one in job["status"].get("conditions") or ())


def _alive(pod: Object) -> bool:
    return pod["status"]["phase"] in {"Pending", "Running"}


def _copy(value: T) -> T:
    copied: T = pickle.loads(pickle.dumps(value))
    return copied
