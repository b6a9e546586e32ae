"""A user's afternoon with the operator, and what the namespace must look like after it.

Played against the API server itself, while the operator works through a faulty proxy or is killed and started again. Each
step waits for the operator's answer to the one before, however long that takes within the deadline.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from media_gateway_operator.kube.kinds import (
    API_VERSION,
    CONFIG_MAP,
    CRON_JOB,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    INGESTION_JOB,
    JOB,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    MEDIA_GATEWAY,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Object,
    ResourceKind,
)
from tests.support.fake_workloads import FakeWorkloads
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.waiting import eventually

CHILDREN: Final = (
    CONFIG_MAP,
    CRON_JOB,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    JOB,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)

_VOLATILE_METADATA: Final = (
    "creationTimestamp",
    "managedFields",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "uid",
)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH = re.compile(r'((?:(?:applied|template|secrets)-hash|"revision)\\*": ?\\*")[0-9a-f]+')
"""Digests into which owners' uids and generated keys go; in an annotation that is JSON itself, quotes are escaped."""
_PORT = re.compile(r"\.svc:\d+/")


def namespace_named(name: str) -> Object:
    """Manifest of a namespace under the strictest PodSecurity."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }


def servers_secret(namespace: str) -> Object:
    """The Secret with the addresses of the gateway's servers."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "servers", "namespace": namespace},
        "stringData": {
            "database": "postgresql://gateway:secret@postgres.example:5432/gateway",
            "redis": "redis://redis.example:6379/0",
        },
    }


def gateway(namespace: str, name: str = "main") -> Object:
    """A MediaGateway with servers elsewhere."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MediaGateway",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "dependencies": {
                "postgres": {"dsnSecretRef": {"name": "servers", "key": "database"}},
                "redis": {"dsnSecretRef": {"name": "servers", "key": "redis"}},
            },
        },
    }


def ingestion_job(namespace: str, name: str, **spec: Any) -> Object:
    """An IngestionJob of the demo catalogue."""
    return {
        "apiVersion": API_VERSION,
        "kind": "IngestionJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": {"type": "Demo", "demo": {}}, **spec},
    }


def condition_of(resource: Object | None, type_: str) -> str | None:
    """Status of a condition that is about the present spec, else None."""
    if resource is None:
        return None
    for one in resource.get("status", {}).get("conditions", ()):
        if one["type"] == type_ and one.get("observedGeneration") == resource["metadata"]["generation"]:
            return str(one["status"])
    return None


@dataclass
class Afternoon:
    """The scenario.

    Attributes
    ----------
    api : KubeApi
        To the API server itself.
    timeout_s : float
        How long the operator may take for one step.
    """

    api: KubeApi
    namespace: str
    workloads: FakeWorkloads
    timeout_s: float = 30.0

    async def play(self) -> None:
        """All of it."""
        await self.gateway_appears()
        await self.jobs_run()
        await self.things_change()
        await self.child_is_deleted()

    async def gateway_appears(self) -> None:
        """A gateway gets its migrations, then its components."""
        await self.api.create(servers_secret(self.namespace))
        await self.api.create(gateway(self.namespace))
        await self.until(MEDIA_GATEWAY, "main", "Ready")

    async def jobs_run(self) -> None:
        """Three jobs: one that completes, one that waits suspended, one that goes on."""
        await self.api.create(ingestion_job(self.namespace, "one"))
        await self.api.create(ingestion_job(self.namespace, "two", suspend=True))
        await self.api.create(ingestion_job(self.namespace, "three"))
        await self.until(INGESTION_JOB, "two", "Suspended")
        await self.until(INGESTION_JOB, "three", "Running")
        self.workloads.finish("one")
        await self.until(INGESTION_JOB, "one", "Complete")

    async def things_change(self) -> None:
        """More replicas, a job edited, a job suspended."""
        replicas = {"spec": {"components": {"discovery": {"replicas": 3}}}}
        await self.api.patch(MEDIA_GATEWAY, self.namespace, "main", replicas)
        await self.api.patch(INGESTION_JOB, self.namespace, "two", {"spec": {"backoffLimit": 7}})
        await self.api.patch(INGESTION_JOB, self.namespace, "three", {"spec": {"suspend": True}})
        await self.until(INGESTION_JOB, "three", "Suspended")
        await self.until(INGESTION_JOB, "two", "Suspended")
        await self.wait(self._replicas_are_three)
        await self.until(MEDIA_GATEWAY, "main", "Ready")

    async def child_is_deleted(self) -> None:
        """A Service and a Job are deleted by hand, and come back."""
        (service,) = [
            one
            for one in await self.children(SERVICE)
            if one["metadata"]["labels"].get("app.kubernetes.io/component") == "discovery"
        ]
        (job,) = [one for one in await self.children(JOB) if one["metadata"]["name"].startswith("two-")]
        for kind, victim in ((SERVICE, service), (JOB, job)):
            await self.api.delete(kind, self.namespace, victim["metadata"]["name"])
            await self.returned(kind, victim)

    async def until(self, kind: ResourceKind, name: str, type_: str) -> None:
        """Wait for a condition about the present spec."""

        async def holds() -> bool:
            resource = await self.api.get(kind, self.namespace, name)
            assert condition_of(resource, type_) == "True", (name, type_, resource and resource.get("status"))
            return True

        await self.wait(holds)

    async def returned(self, kind: ResourceKind, victim: Object) -> None:
        """Wait until a deleted object is there again, as another one."""

        async def there() -> bool:
            found = await self.api.get(kind, self.namespace, victim["metadata"]["name"])
            return found is not None and bool(found["metadata"]["uid"] != victim["metadata"]["uid"])

        await self.wait(there)

    async def wait(self, probe: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something the operator does."""

        async def asked() -> bool:
            return await probe()

        await eventually(asked, timeout_s=self.timeout_s, interval_s=0.05)

    async def children(self, kind: ResourceKind) -> list[Object]:
        """The operator's objects of a kind."""
        return await self.api.list(kind, self.namespace, selector=f"{LABEL_MANAGED_BY}={MANAGED_BY}")

    async def _replicas_are_three(self) -> bool:
        found = await self.children(DEPLOYMENT)
        return any(
            one["metadata"]["labels"].get("app.kubernetes.io/component") == "discovery"
            and one["spec"]["replicas"] == 3
            and one["status"].get("readyReplicas") == 3
            for one in found
        )


async def end_state(api: KubeApi, namespace: str) -> dict[str, Any]:
    """What a namespace holds: children and statuses, without what differs from run to run."""
    found: dict[str, Any] = {}
    for kind in (MEDIA_GATEWAY, INGESTION_JOB, *CHILDREN):
        selector = "" if kind in {MEDIA_GATEWAY, INGESTION_JOB} else f"{LABEL_MANAGED_BY}={MANAGED_BY}"
        for one in await api.list(kind, namespace, selector=selector):
            found[f"{kind.kind} {one['metadata']['name']}"] = _settled(kind, one, namespace)
    return found


def _settled(kind: ResourceKind, resource: Object, namespace: str) -> Any:
    kept = {name: value for name, value in resource.items() if name not in {"apiVersion", "kind"}}
    kept["metadata"] = {k: v for k, v in resource["metadata"].items() if k not in _VOLATILE_METADATA}
    kept["owners"] = sorted(
        f"{owner['kind']} {owner['name']}" for owner in resource["metadata"].get("ownerReferences", ())
    )
    if kind is JOB:
        # Suspending counts; whether a Job was made suspended and then let go, and whether there was time to write that
        # it is suspended, depends on when its gateway was ready.
        kept["metadata"].pop("generation", None)
        kept["status"] = _end_of(resource.get("status") or {})
    text = json.dumps(kept, sort_keys=True).replace(namespace, "<namespace>")
    for pattern, instead in (
        (_TIME, "<time>"),
        (_UID, "<uid>"),
        (_HASH, r"\1<hash>"),
        (_PORT, ".svc:<port>/"),
    ):
        text = pattern.sub(instead, text)
    settled = json.loads(text)
    if kind is SERVICE:
        for field in ("clusterIP", "clusterIPs"):
            settled["spec"].pop(field, None)
    return settled


def _end_of(status: Object) -> list[str]:
    return [
        one["type"]
        for one in status.get("conditions", ())
        if one["status"] == "True" and one["type"] in {"Complete", "Failed"}
    ]


def differences(golden: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs, a line each."""
    lines = [f"missing: {name}" for name in golden if name not in found]
    lines += [f"too much: {name}" for name in found if name not in golden]
    for name in golden.keys() & found.keys():
        lines += [f"{name}{line}" for line in _unlike(golden[name], found[name])]
    return sorted(lines)


def _unlike(one: Any, other: Any) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            f".{key}{line}"
            for key in sorted(one.keys() | other.keys())
            for line in _unlike(one.get(key), other.get(key))
        ]
    return [] if one == other else [f": {one!r:.500} → {other!r:.500}"]


async def drop_namespace(api: KubeApi, name: str) -> None:
    """Delete a namespace without waiting for its end."""
    await api.delete(NAMESPACE, None, name)
