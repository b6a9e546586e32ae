"""The operator's engine against a real API server: watches, server-side apply, rights, tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from media_gateway.core.errors import ConflictError, InvalidInputError
from media_gateway_operator.app import CHILDREN, assembled
from media_gateway_operator.engine.apply import ForeignObjectError
from media_gateway_operator.engine.plan import Note, Plan
from media_gateway_operator.engine.tokens import AUDIENCE, KEYS_PATH, PodTokens
from media_gateway_operator.kube.client import KubeClient
from media_gateway_operator.kube.config import from_kubeconfig
from media_gateway_operator.kube.errors import TerminatingError
from media_gateway_operator.kube.kinds import (
    APPLIED_HASH,
    CONFIG_MAP,
    EVENT,
    INGESTION_JOB,
    LABEL_MANAGED_BY,
    LEASE,
    MANAGED_BY,
    POD,
    Object,
    Ref,
)
from media_gateway_operator.settings import OperatorSettings
from tests.support.control_plane import ControlPlane
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.operator_scenario import ingestion_job, namespace_named
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

_used: set[str] = set()


class OneMap:
    """Each IngestionJob has a ConfigMap and a phase: as little logic as an operator can have."""

    kind = INGESTION_JOB

    def __init__(self) -> None:
        self.reconciled = 0

    async def observe(self, snapshot: Any, cluster: Any) -> Any:
        return snapshot

    def desired(self, observed: Any) -> Plan:
        self.reconciled += 1
        metadata = observed.resource["metadata"]
        made = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "labels": {LABEL_MANAGED_BY: MANAGED_BY},
            },
            "data": {"suspend": str(observed.resource["spec"].get("suspend", False))},
        }
        status = {"observedGeneration": metadata["generation"], "phase": "Pending"}
        return Plan(objects=[made], status=status, notes=[Note("Normal", "Seen", "looked at")])

    def interested(self, changed: Any, cluster: Any) -> Any:
        return ()


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[KubeApi]:
    async with KubeApi(control_plane.kubeconfig) as api:
        yield api


@pytest.fixture
async def place(api: KubeApi, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"engine-{len(_used)}"
    _used.add(name)
    await api.create(namespace_named(name))
    yield name
    await api.delete(NAMESPACE, None, name)


@asynccontextmanager
async def running(
    kubeconfig: Path, namespace: str, identity: str = "engine", **changes: Any
) -> AsyncIterator[Any]:
    """An operator with `OneMap`, in this process; its lease is long, since the end of one is the end of the process."""
    settings = OperatorSettings(
        watch_namespaces=namespace, namespace=namespace, identity=identity, host="127.0.0.1", port=0,
        progress_port=0, backoff_base_s=0.1, lease_renew_deadline_s=400, lease_duration_s=500, **changes,
    )  # fmt: skip
    reconciler = OneMap()
    async with assembled(settings, from_kubeconfig(kubeconfig), [reconciler]) as operator:
        task = asyncio.create_task(operator.run())
        waiting = asyncio.create_task(operator.runtime.synced.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        if task.done():
            task.result()
        assert operator.runtime.synced.is_set()
        operator_and_logic = (operator, reconciler)
        try:
            yield operator_and_logic
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=10)


async def settled(api: KubeApi, namespace: str, name: str) -> Object:
    async def there() -> Object | None:
        resource = await api.get(INGESTION_JOB, namespace, name)
        assert resource is not None
        if (resource.get("status") or {}).get("observedGeneration") != resource["metadata"]["generation"]:
            return None
        return await api.get(CONFIG_MAP, namespace, name)

    found = await eventually(there)
    assert found is not None
    return found


async def test_resource_gets_child_status_and_event(control_plane, api, place):
    async with running(control_plane.kubeconfig, place):
        await api.create(ingestion_job(place, "one"))
        child = await settled(api, place, "one")
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["kind"] == "IngestionJob"
        assert child["metadata"]["annotations"][APPLIED_HASH]
        events = await eventually(lambda: api.list(EVENT, place))
        assert any(event["reason"] == "Seen" for event in events)
        lease = await api.get(LEASE, place, "media-gateway-operator")
        assert lease["spec"]["holderIdentity"] == "engine"
    lease = await api.get(LEASE, place, "media-gateway-operator")
    assert not lease["spec"].get("holderIdentity"), "given back at the end"


async def test_deleted_and_changed_children_are_repaired_within_a_second(control_plane, api, place):
    async with running(control_plane.kubeconfig, place):
        await api.create(ingestion_job(place, "one"))
        child = await settled(api, place, "one")
        await api.delete(CONFIG_MAP, place, "one")

        async def another() -> bool:
            found = await api.get(CONFIG_MAP, place, "one")
            return bool(found and found["metadata"]["uid"] != child["metadata"]["uid"])

        await eventually(another, timeout_s=2.0)
        await api.patch(CONFIG_MAP, place, "one", {"data": {"suspend": "changed", "mine": "stays"}})

        async def reverted() -> bool:
            found = await api.get(CONFIG_MAP, place, "one")
            return bool(found and found["data"] == {"suspend": "False", "mine": "stays"})

        await eventually(reverted, timeout_s=2.0)

        async def told() -> bool:
            events = await api.list(EVENT, place)
            return any(e["reason"] == "DriftCorrected" and "data.suspend" in e["message"] for e in events)

        await eventually(told)


async def test_restart_looks_at_everything_and_writes_nothing(control_plane, api, place):
    names = [f"job-{number}" for number in range(20)]
    async with running(control_plane.kubeconfig, place):
        for name in names:
            await api.create(ingestion_job(place, name))
        for name in names:
            await settled(api, place, name)

    async def versions() -> list[str]:
        found = [*await api.list(CONFIG_MAP, place), *await api.list(INGESTION_JOB, place)]
        return sorted(one["metadata"]["resourceVersion"] for one in found)

    before = await versions()
    async with running(control_plane.kubeconfig, place, identity="second") as (_, reconciler):
        await eventually(lambda: reconciler.reconciled >= len(names))
    assert await versions() == before


async def test_deletion_that_no_watch_has_told_is_found_by_the_next_list(control_plane, api, place):
    settings = OperatorSettings(watch_namespaces=place, namespace=place, port=0, progress_port=0)
    await api.create(ingestion_job(place, "here"))
    async with assembled(settings, from_kubeconfig(control_plane.kubeconfig), [OneMap()]) as operator:
        runtime = operator.runtime
        gone = {**ingestion_job(place, "gone")}
        gone["metadata"] |= {"uid": "long-gone", "resourceVersion": "1"}
        runtime.store.put(gone)
        task = asyncio.create_task(runtime.run())
        await eventually(runtime.synced.is_set, timeout_s=30)
        assert runtime.store.find(Ref(INGESTION_JOB, place, "gone")) is None
        assert runtime.store.find(Ref(INGESTION_JOB, place, "here")) is not None
        task.cancel()
        await asyncio.wait({task}, timeout=10)


ROLE = [
    {"apiGroups": ["mediagateway.io"], "resources": ["ingestionjobs"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": ["mediagateway.io"], "resources": ["ingestionjobs/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    *(
        {"apiGroups": [kind.group], "resources": [kind.plural], "verbs": ["get", "list", "watch", "create", "patch"]}
        for kind in CHILDREN
    ),
]  # fmt: skip


async def test_namespaced_operator_needs_no_right_outside_of_its_namespace(
    control_plane, api, place, tmp_path
):
    access = from_kubeconfig(await limited(control_plane, api, place, tmp_path))
    assert access.headers()["Authorization"].startswith("Bearer ")
    client = KubeClient(access)
    assert (await client.read(KEYS_PATH))["keys"], (
        "every service account may read by which keys tokens are signed"
    )
    await client.close()
    async with running(tmp_path / "limited", place):
        await api.create(ingestion_job(place, "one"))
        await settled(api, place, "one")


async def limited(control_plane: ControlPlane, api: KubeApi, place: str, folder: Path) -> Path:
    """A kubeconfig of a service account that has `ROLE` in its namespace and nothing else."""
    accounts = f"/api/v1/namespaces/{place}/serviceaccounts"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place}"
    await api.request("POST", accounts, {"metadata": {"name": "limited"}})
    await api.request("POST", f"{rbac}/roles", {"metadata": {"name": "limited"}, "rules": ROLE})
    binding = {
        "metadata": {"name": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "limited"},
        "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": place}],
    }
    await api.request("POST", f"{rbac}/rolebindings", binding)
    made = await api.request("POST", f"{accounts}/limited/token", {"spec": {"expirationSeconds": 3600}})
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": made["status"]["token"]}
    path = folder / "limited"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    client = KubeClient(from_kubeconfig(control_plane.kubeconfig))
    yield client
    await client.close()


def config_map(place: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": place},
        "data": data,
    }


async def test_apply_without_force_creates_and_does_not_take_over(client, api, place):
    await api.create(config_map(place, a="theirs"))
    with pytest.raises(ConflictError, match="conflict"):
        await client.apply(config_map(place, a="ours"), force=False)
    assert (await client.apply(config_map(place, a="ours")))["data"] == {"a": "ours"}
    await api.delete(CONFIG_MAP, place, "one")
    assert (await client.apply(config_map(place, a="ours"), force=False))["data"] == {"a": "ours"}


async def test_foreign_object_of_a_child_s_name_is_left_alone_and_told(control_plane, api, place):
    await api.create(config_map(place, suspend="theirs"))
    async with running(control_plane.kubeconfig, place):
        await api.create(ingestion_job(place, "one"))

        async def told() -> bool:
            events = await api.list(EVENT, place)
            return any(e["reason"] == "ReconcileFailed" and "not managed" in e["message"] for e in events)

        await eventually(told)
    found = await api.get(CONFIG_MAP, place, "one")
    assert found is not None
    assert found["data"] == {"suspend": "theirs"}
    assert ForeignObjectError.code == "foreign_object"


async def test_refusals_of_the_api_server_are_told_apart(client, api, place):
    wrong = {**config_map(place), "data": {"a": {"b": "c"}}}
    with pytest.raises(InvalidInputError):
        await client.apply(wrong)
    with pytest.raises(TerminatingError):
        await client.apply(config_map("absent-namespace", a="b"))


async def test_namespace_deletion_is_not_hindered(control_plane, api):
    name = "engine-going"
    await api.create(namespace_named(name))
    async with running(control_plane.kubeconfig, name, lease_namespace="default", lease_name="going"):
        for number in range(10):
            await api.create(ingestion_job(name, f"job-{number}"))
        await settled(api, name, "job-0")
        await api.delete(NAMESPACE, None, name)

        async def gone() -> bool:
            return await api.get(NAMESPACE, None, name) is None

        await eventually(gone, timeout_s=60)


async def test_projected_token_of_a_pod_is_known_by_the_server_s_keys(client, api, place):
    pod = await api.create({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": place},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": "localhost/none",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })  # fmt: skip
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": pod["metadata"]["uid"]}
    spec = {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
    path = f"/api/v1/namespaces/{place}/serviceaccounts/default/token"
    made = await eventually(lambda: _created(api, path, {"spec": spec}))
    identity = await PodTokens(client).identify(made["status"]["token"])
    assert (identity.namespace, identity.name, identity.uid) == (place, "one", pod["metadata"]["uid"])
    assert await client.get(Ref(POD, place, "one"))


async def _created(api: KubeApi, path: str, body: Object) -> Object:
    try:
        return await api.request("POST", path, body)
    except Exception as error:  # the default service account comes a moment after its namespace
        raise AssertionError from error
