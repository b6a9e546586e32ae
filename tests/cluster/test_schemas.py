"""The custom resources at a real API server: what it takes, what it refuses and how it says so, what it fills in."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from pydantic import BaseModel

from media_gateway_operator.crds.definitions import CUSTOM_RESOURCES
from media_gateway_operator.kube.kinds import (
    INGESTION_JOB,
    MEDIA_GATEWAY,
    RATE_LIMIT_POLICY,
    TRAINING_JOB,
)
from tests.support.control_plane import ControlPlane
from tests.support.kube_api import CRD, ApiError, KubeApi, path_of
from tests.support.manifest_table import Case, Object, cases, merged
from tests.support.processes import REPOSITORY
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

KINDS = {kind.kind: kind for kind in (MEDIA_GATEWAY, INGESTION_JOB, TRAINING_JOB, RATE_LIMIT_POLICY)}
STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
NAMESPACE = "default"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(control_plane: ControlPlane) -> AsyncIterator[KubeApi]:
    async with KubeApi(control_plane.kubeconfig) as client:
        yield client


@pytest.fixture
def kubectl(control_plane: ControlPlane, tmp_path: Path) -> Callable[..., str]:
    from tests.cluster.machine.places import cache_folder
    from tests.cluster.machine.programs import programs

    program = str(programs(cache_folder())["kubectl"])
    environment = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig)}

    def run(*arguments: str, document: Any = None) -> str:
        given = None if document is None else json.dumps(document)
        done = subprocess.run(
            [program, f"--cache-dir={tmp_path}", *arguments],
            input=given, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


async def tried(api: KubeApi, document: Object) -> Object:
    """What the API server would store."""
    return await api.request("POST", path_of(KINDS[document["kind"]], NAMESPACE), document, query=STRICT)


def spec_of(document: Object) -> BaseModel:
    """The spec as a reconciler reads it."""
    model = next(one.spec for one in CUSTOM_RESOURCES if one.kind == document["kind"])
    return model.model_validate(document["spec"])


def complaints(error: ApiError) -> list[str]:
    """What the API server says, each with the path it is about."""
    causes = error.status.get("details", {}).get("causes") or ()
    return [f"{one.get('field')}: {one.get('message')}" for one in causes] or [error.status["message"]]


def assert_names(error: ApiError, case: Case) -> None:
    """The refusal has one complaint that names the field and says what the case expects."""
    said = complaints(error)
    assert error.code in {400, 422}, error
    assert any(case.path in one and case.message in one for one in said), said


@pytest.mark.parametrize("case", cases("accepted"), ids=str)
async def test_what_is_right_is_accepted(api: KubeApi, case: Case) -> None:
    stored = await tried(api, case.document)
    assert lacking(stored["spec"], case.document["spec"]) == []
    # What the API server fills in is what the models would.
    assert spec_of(stored) == spec_of(case.document)


@pytest.mark.parametrize("case", cases("refused"), ids=str)
async def test_what_is_wrong_is_refused_with_its_path_and_what_to_do(api: KubeApi, case: Case) -> None:
    with pytest.raises(ApiError) as refused:
        await tried(api, case.document)
    assert_names(refused.value, case)


@pytest.mark.parametrize("case", cases("changes"), ids=str)
async def test_changes_are_taken_or_refused_as_the_object_stands(api: KubeApi, case: Case) -> None:
    kind, name = KINDS[case.kind], case.document["metadata"]["name"]
    path = path_of(kind, NAMESPACE, name)
    await api.delete(kind, NAMESPACE, name)
    stored = await api.request("POST", path_of(kind, NAMESPACE), case.before)
    try:
        if case.status:
            body = {**stored, "status": case.status}
            stored = await api.request("PUT", f"{path}/status", body)
        changed = {**stored, "spec": case.document["spec"]}
        trial = api.request("PUT", path, changed, query=STRICT)
        if case.accepted:
            await trial
        else:
            with pytest.raises(ApiError) as refused:
                await trial
            assert_names(refused.value, case)
    finally:
        await api.delete(kind, NAMESPACE, name)


@pytest.mark.parametrize("case", cases("defaults"), ids=str)
async def test_what_is_not_given_is_filled_in(api: KubeApi, case: Case) -> None:
    spec = (await tried(api, case.document))["spec"]
    assert lacking(spec, case.filled) == []
    assert [path for path in case.absent if at(spec, path) is not None] == []
    # A second time nothing is left to fill in.
    again = await tried(api, merged(case.document, {"spec": spec}))
    assert again["spec"] == spec


def lacking(found: Any, wanted: Any, path: str = "spec") -> list[str]:
    """Paths at which `found` does not have what is wanted; it may have more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            one for key, value in wanted.items() for one in lacking(found.get(key), value, f"{path}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = enumerate(zip_longest(found, wanted))
        return [one for number, (a, b) in pairs for one in lacking(a, b, f"{path}.{number}")]
    return [] if found == wanted else [f"{path}: {found!r}, not {wanted!r}"]


def at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value.get(part)
    return value


@pytest.mark.parametrize("path", sorted((REPOSITORY / "samples").glob("*.yaml")), ids=lambda path: path.name)
async def test_every_sample_is_accepted(api: KubeApi, path: Any) -> None:
    documents = [one for one in yaml.safe_load_all(path.read_text()) if one and one["kind"] in KINDS]
    for document in documents:
        await tried(api, document)


async def test_every_wrong_field_is_told_at_once(api: KubeApi) -> None:
    document = {
        "apiVersion": "mediagateway.io/v1alpha1",
        "kind": "IngestionJob",
        "metadata": {"name": "many"},
        "spec": {
            "source": {"type": "HTTP", "http": {"url": "ftp://x"}},
            "mode": "Incremental",
            "schedule": "@daily",
        },
    }
    with pytest.raises(ApiError) as refused:
        await tried(api, document)
    said = "\n".join(complaints(refused.value))
    for path in ("spec.source.http.url", "spec.cursorField", "spec.schedule"):
        assert path in said


async def test_status_is_written_beside_the_spec_only(api: KubeApi) -> None:
    document = next(case.document for case in cases("accepted") if case.kind == "IngestionJob")
    document = merged(document, {"metadata": {"name": "beside"}, "status": {"phase": "Running"}})
    await api.delete(INGESTION_JOB, NAMESPACE, "beside")
    stored = await api.request("POST", path_of(INGESTION_JOB, NAMESPACE), document)
    try:
        assert "status" not in stored
        body = {**stored, "spec": {**stored["spec"], "batchSize": 7}, "status": {"phase": "Running"}}
        path = path_of(INGESTION_JOB, NAMESPACE, "beside")
        written = await api.request("PUT", f"{path}/status", body)
        assert written["status"] == {"phase": "Running"}
        assert written["spec"] == stored["spec"]
        assert written["metadata"]["generation"] == stored["metadata"]["generation"]
    finally:
        await api.delete(INGESTION_JOB, NAMESPACE, "beside")


CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Reconciled",
    "message": "",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
STATUSES: dict[str, Object] = {
    "MediaGateway": {
        "observedGeneration": 1,
        "phase": "Ready",
        "conditions": [CONDITION, {**CONDITION, "type": "SLAMet"}],
        "version": {"current": "1.2.3", "target": "1.2.3", "lastSuccessful": "1.2.3"},
        "componentsReady": "7/8",
        "endpoints": [{"name": "gateway", "url": "http://mgw-gateway.default.svc:8080"}],
        "components": [
            {
                "name": "gateway",
                "ready": 2,
                "desired": 2,
                "sla": {"p95Milliseconds": 41, "met": True, "burnRate1h": "0.25"},
                "autoscaler": {"actuator": "KEDA", "desired": 2, "capacityPerReplica": "120.5"},
            }
        ],
        "dependencies": [{"name": "postgres", "mode": "External", "reachable": True}],
    },
    "IngestionJob": {
        "phase": "Running",
        "reason": "PodReady",
        "conditions": [{**CONDITION, "type": "Running"}],
        "startTime": "2026-01-01T00:00:00Z",
        "lastSuccessfulTime": "2026-01-01T00:00:00Z",
        "nextScheduleTime": "2026-01-02T00:00:00Z",
        "attempt": 1,
        "active": [{"name": "films-0a1b2c3d", "uid": "1"}],
        "cursor": {"value": "2025-12-31", "updatedAt": "2026-01-01T00:00:00Z"},
        "progress": {"read": 4200, "written": 4100, "skipped": 90, "failed": 10, "percent": 42,
                     "ratePerSecond": "1200.5", "estimatedRemainingSeconds": 5},
        "lastRun": {"name": "a", "result": "Failed", "reason": "Usage", "exitCode": 64, "logTail": "x" * 1024},
    },
    "LoRATrainingJob": {
        "phase": "Failed",
        "reason": "BackoffLimitExceeded",
        "attempt": 3,
        "conditions": [{**CONDITION, "type": "Failed"}],
        "workers": {"desired": 2, "ready": 0, "succeeded": 0, "failed": 2},
        "progress": {"step": 10, "totalSteps": 100, "epoch": "0.1", "percent": 10, "estimatedRemainingSeconds": 77},
        "metrics": [{"name": "loss", "value": "1.25"}, {"name": "learning_rate", "value": "2e-4"}],
        "checkpoint": {"step": 10, "uri": "pvc://a/b", "digest": "sha256:" + "0" * 64},
        "adapter": {"name": "films@3", "sizeBytes": 4_000_000_000, "evaluation": "-0.5"},
        "failure": {"reason": "OOMKilled", "exitCode": 137, "node": "node-7", "pod": "p"},
    },
    "RateLimitPolicy": {
        "conditions": [{**CONDITION, "type": "Enforced", "reason": "AllReplicasAcked"}],
        "revision": "0a1b2c3d4e5f",
        "effective": {"limits": 1, "routes": 12},
        "acknowledged": {"replicas": 2, "total": 2, "lastTime": "2026-01-01T00:00:00Z"},
        "acknowledgedReplicas": "2/2",
        "overriddenBy": [{"name": "strict", "limits": ["all"]}],
        "unmatched": ["/api/v2"],
    },
}  # fmt: skip
SHOWN = {
    "MediaGateway": ["True", "1.2.3", "7/8", "True", "Reconciled", "41", "KEDA"],
    "IngestionJob": ["Running", "0 3 * * *", "42", "PodReady", "1200.5", "2026-01-02T00:00:00Z", "2025-12-31"],
    "LoRATrainingJob": ["Failed", "10", "1.25", "films@3", "3", "77", "BackoffLimitExceeded", "node-7"],
    "RateLimitPolicy": ["platform", "Default", "True", "2/2", "1", "0a1b2c3d4e5f", "strict", "AllReplicasAcked"],
}  # fmt: skip
HEADERS = {
    "MediaGateway": "NAME READY VERSION COMPONENTS SLA AGE REASON MESSAGE P95 ACTUATOR",
    "IngestionJob": "NAME PHASE SCHEDULE PROGRESS LAST SUCCESS AGE REASON RATE NEXT CURSOR",
    "LoRATrainingJob": "NAME PHASE PROGRESS LOSS ADAPTER AGE ATTEMPT ETA REASON NODE",
    "RateLimitPolicy": "NAME TARGET MODE ENFORCED ACK LIMITS AGE REVISION OVERRIDDEN-BY REASON",
}
SHORT = {"MediaGateway": "mgw", "IngestionJob": "ingest", "LoRATrainingJob": "lora", "RateLimitPolicy": "rlp"}


@pytest.mark.parametrize("name", KINDS)
async def test_columns_show_the_status(api: KubeApi, kubectl: Callable[..., str], name: str) -> None:
    document = next(case.document for case in cases("accepted") if case.kind == name)
    extra = {"spec": {"schedule": "0 3 * * *"}} if name == "IngestionJob" else {}
    document = merged(document, {"metadata": {"name": "shown"}, **extra})
    await api.delete(KINDS[name], NAMESPACE, "shown")
    stored = await api.request("POST", path_of(KINDS[name], NAMESPACE), document)
    try:
        path = path_of(KINDS[name], NAMESPACE, "shown")
        written = await api.request(
            "PUT", f"{path}/status", {**stored, "status": STATUSES[name]}, query={"fieldValidation": "Strict"}
        )
        assert written["status"] == STATUSES[name]  # nothing was pruned or added
        ask = partial(kubectl, "get", SHORT[name], "shown", "-n", NAMESPACE)
        narrow, wide = await asyncio.gather(asyncio.to_thread(ask), asyncio.to_thread(ask, "-o", "wide"))
        assert " ".join(wide.splitlines()[0].split()) == HEADERS[name]
        assert HEADERS[name].startswith(" ".join(narrow.splitlines()[0].split()))
        assert narrow.splitlines()[0].split()[-1] == "AGE"
        for value in SHOWN[name]:
            assert value in wide.splitlines()[1]
        listed = await asyncio.to_thread(kubectl, "get", "media-gateway", "-n", NAMESPACE, "-o", "name")
        assert f"{name.lower()}.mediagateway.io/shown" in listed.split()
        one = await asyncio.to_thread(kubectl, "get", name.lower(), "shown", "-n", NAMESPACE, "-o", "name")
        assert one.split() == [f"{name.lower()}.mediagateway.io/shown"]
        waited = partial(
            kubectl, "wait", f"--for=condition={STATUSES[name]['conditions'][0]['type']}",
            f"{SHORT[name]}/shown", "-n", NAMESPACE, "--timeout=10s",
        )  # fmt: skip
        assert "condition met" in await asyncio.to_thread(waited)
    finally:
        await api.delete(KINDS[name], NAMESPACE, "shown")


@pytest.mark.parametrize("name", KINDS)
async def test_two_conditions_of_one_type_are_refused(api: KubeApi, name: str) -> None:
    document = next(case.document for case in cases("accepted") if case.kind == name)
    document = merged(document, {"metadata": {"name": "twice"}})
    await api.delete(KINDS[name], NAMESPACE, "twice")
    stored = await api.request("POST", path_of(KINDS[name], NAMESPACE), document)
    try:
        body = {**stored, "status": {"conditions": [CONDITION, CONDITION]}}
        with pytest.raises(ApiError, match="Duplicate value"):
            await api.request("PUT", f"{path_of(KINDS[name], NAMESPACE, 'twice')}/status", body)
    finally:
        await api.delete(KINDS[name], NAMESPACE, "twice")


async def test_explain_teaches_every_kind(kubectl: Callable[..., str]) -> None:
    async def explained(path: str) -> str:
        return " ".join((await asyncio.to_thread(kubectl, "explain", path)).split())

    source = await eventually(partial(explained, "ingestionjob.spec.source"), timeout_s=20)
    assert "Where records come from." in source
    assert "type <string> -required-" in source
    assert "the smaller number speaks first" in source
    assert "profile Development only" in await explained("mgw.spec.dependencies.postgres.mode")
    assert "Rank of the update matrices" in await explained("lora.spec.lora")
    assert "GCRA spreads requests evenly" in await explained("rlp.spec.limits")


async def test_definitions_are_taken_whole(api: KubeApi) -> None:
    # A rule that may cost too much, or one that can't be compiled, would have kept them from being established.
    for kind in KINDS.values():
        found = await api.get(CRD, None, f"{kind.plural}.mediagateway.io")
        assert found is not None
        conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"
