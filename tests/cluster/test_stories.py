"""A user's stories on real pods: the samples, what kubectl shows and waits for, jobs that end well and badly, repair.

The gateway `demo` is left as it was found. The last story deletes a namespace of the operator's, so nothing comes after it.
"""

import itertools
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from media_gateway_operator.kube.kinds import (
    API_VERSION,
    CONFIG_MAP,
    DEPLOYMENT,
    INGESTION_JOB,
    LABEL_JOB,
    LABEL_NAME,
    PAUSED,
    PROGRESS_MANAGER,
    SERVICE,
    Object,
    ResourceKind,
)
from tests.cluster.installation import FILM, ROOT, TITLE, Platform, pod, running
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.needs("node", "images"),
    pytest.mark.timeout(600),
]

GATEWAY = "mediagateway/demo"
FILMS = 60


def job(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "IngestionJob",
        "metadata": {"name": name},
        "spec": {"gatewayRef": {"name": "demo"}, "source": source, **spec},
    }


def demo(limit: int | None = None) -> dict[str, Any]:
    return {"type": "Demo", "demo": {} if limit is None else {"limit": limit}, "priority": 900}


@asynccontextmanager
async def submitted(platform: Platform, *manifests: dict[str, Any]) -> AsyncIterator[None]:
    """IngestionJobs that are there for a block."""
    await platform.media("create", "-f", "-", document=list(manifests))
    try:
        yield
    finally:
        names = [f"ingestionjob/{one['metadata']['name']}" for one in manifests]
        await platform.media.text("delete", *names, "--wait=false")


async def row(platform: Platform, resource: str) -> dict[str, str]:
    """What ``kubectl get -o wide`` shows of an object, by column."""
    head, line = (await platform.media.text("get", resource, "-o", "wide")).splitlines()
    columns = [(match[0].strip(), match.start()) for match in re.finditer(r"\S+( \S+)*(\s{2,}|$)", head)]
    ends = [start for _, start in columns[1:]] + [None]
    return {name: line[start:end].strip() for (name, start), end in zip(columns, ends, strict=True)}


async def test_samples_give_a_gateway_that_finds_films(platform: Platform, record_property: Any) -> None:
    for what, seconds in platform.seconds.items():
        record_property(f"seconds from kubectl apply -f samples/: {what}", seconds)
    assert (await platform.search(FILM))[0] == TITLE
    assert "12 Angry Men" in await platform.search("films of 1957 with a jury")


async def test_tables_say_how_things_stand(platform: Platform) -> None:
    gateway = await row(platform, "mgw/demo")
    assert (gateway["READY"], gateway["VERSION"]) == ("True", platform.version)
    assert (gateway["COMPONENTS"], gateway["REASON"]) == ("2/2", "Reconciled")
    assert gateway["MESSAGE"] == "all 2 components are ready"
    reading = await row(platform, "ingest/demo")
    assert (reading["PHASE"], reading["REASON"]) == ("Suspended", "Suspended")
    assert 0 < int(reading["PROGRESS"]) < 100


async def test_description_tells_what_has_happened(platform: Platform) -> None:
    gateway = await platform.media.text("describe", "mgw/demo")
    for kind, reason in (("Normal", "MigrationComplete"), ("Warning", "DevelopmentDependencies")):
        assert re.search(rf"^\s+{kind}\s+{reason}\s", gateway, re.MULTILINE), gateway
    reading = await platform.media.text("describe", "ingest/demo")
    for reason in ("Started", "Suspended"):
        assert re.search(rf"^\s+Normal\s+{reason}\s", reading, re.MULTILINE), reading


async def test_kubectl_waits_for_each_condition(platform: Platform) -> None:
    for condition in (
        "Ready",
        "Progressing=False",
        "Degraded=False",
        "DependenciesReady",
        "Migrated",
        "Paused=False",
    ):
        await platform.wait(GATEWAY, condition, timeout_s=10)
    for condition in (
        "Accepted",
        "Suspended",
        "Running=False",
        "Complete=False",
        "Failed=False",
        "Stalled=False",
    ):
        await platform.wait("ingestionjob/demo", condition, timeout_s=10)


async def test_finished_job_keeps_its_numbers_and_its_children_stay_gone(platform: Platform) -> None:
    async with submitted(platform, job("few", demo(FILMS), batchSize=10)):
        # It ends once everything that is in the catalogue, of other jobs too, has its vector.
        await platform.wait("ingestionjob/few", "Complete", timeout_s=240)
        progress = (await platform.status("ingestionjob/few"))["progress"]
        assert (progress["read"], progress["percent"]) == (FILMS, 100)
        assert progress["written"] + progress["skipped"] + progress["failed"] == FILMS
        await platform.media.text("delete", "jobs", "-l", f"{LABEL_JOB}=few")
        await platform.patch("ingestionjob/few", {"spec": {"batchSize": 20}})
        await platform.seen("ingestionjob/few")
        assert (await platform.media("get", "jobs", "-l", f"{LABEL_JOB}=few"))["items"] == []
        assert (await platform.status("ingestionjob/few"))["progress"] == progress
        await platform.wait("ingestionjob/few", "Complete", timeout_s=10)
        assert {"Started", "Completed"} <= await platform.reasons("few")


async def test_running_job_shows_how_far_it_is_every_ten_seconds(
    platform: Platform, record_property: Any
) -> None:
    # One by one, so that it takes a while and leaves little behind for which vectors are to be made.
    one = job("reading", demo(), mode="Incremental", cursorField="id", batchSize=1)
    written: list[datetime] = []
    async with submitted(platform, one), platform.api() as api:
        await platform.wait("ingestionjob/reading", "Running")

        async def three_writes() -> bool:
            found = await api.get(INGESTION_JOB, platform.media.namespace, "reading")
            assert found is not None
            at = [
                entry["time"]
                for entry in found["metadata"]["managedFields"]
                if entry["manager"] == PROGRESS_MANAGER
            ]
            written.extend(time for one in at if (time := datetime.fromisoformat(one)) not in written)
            return len(written) >= 3

        await eventually(three_writes, timeout_s=60, interval_s=0.3)
        # Kubernetes keeps whole seconds.
        gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(written)]
        assert min(gaps) >= 9
        status = await platform.status("ingestionjob/reading")
        progress = status["progress"]
        assert progress["read"] == progress["written"] + progress["skipped"] + progress["failed"] > 0
        assert float(progress["ratePerSecond"]) > 0
        assert progress["estimatedRemainingSeconds"] > 0
        assert 0 <= progress["percent"] < 100
        assert int(status["cursor"]["value"]) > 0
        record_property("records a second of an ingestion pod", progress["ratePerSecond"])
        found = await platform.media("get", "ingestionjob/reading", "--show-managed-fields")
        own = [one["fieldsV1"]["f:status"] for one in found["metadata"]["managedFields"]
               if one["manager"] == PROGRESS_MANAGER]  # fmt: skip
        assert [set(fields) for fields in own] == [{"f:progress", "f:cursor"}]
        await _goes_on_where_it_was(platform)


async def _goes_on_where_it_was(platform: Platform) -> None:
    await platform.patch("ingestionjob/reading", {"spec": {"suspend": True}})
    await platform.wait("ingestionjob/reading", "Suspended")
    before = await platform.status("ingestionjob/reading")
    await platform.patch("ingestionjob/reading", {"spec": {"suspend": False}})
    await platform.wait("ingestionjob/reading", "Running")

    async def further() -> bool:
        now = await platform.status("ingestionjob/reading")
        return bool(now["progress"]["read"] > before["progress"]["read"])

    await eventually(further, timeout_s=180, interval_s=0.5)
    attempt = (await platform.status("ingestionjob/reading"))["attempt"]
    assert attempt == 1, "an interruption that was asked for is no failed attempt"
    log = await platform.media.text("logs", "-l", f"{LABEL_JOB}=reading", "--tail=-1")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    continued = [line["read"] for line in lines if line.get("event", line.get("message")) == "continuing"]
    assert continued == [before["progress"]["read"]]


async def test_job_that_cannot_succeed_says_why_and_is_not_tried_again(platform: Platform) -> None:
    source = {"type": "HTTP", "http": {"url": "http://demo-discovery:8081/no/films/here"}}
    async with submitted(platform, job("nowhere", source)):
        await platform.wait("ingestionjob/nowhere", "Failed", timeout_s=120)
        failed = await platform.condition("ingestionjob/nowhere", "Failed")
        assert failed["reason"] == "SourceUnavailable"
        assert failed["message"].startswith("exit code 69: ")
        assert "demo-discovery" in failed["message"]
        status = await platform.status("ingestionjob/nowhere")
        assert (status["attempt"], status["lastRun"]["exitCode"]) == (1, 69)
        assert "demo-discovery" in status["lastRun"]["logTail"]
        assert len(status["lastRun"]["logTail"].encode()) <= 1024
        assert "Failed" in await platform.reasons("nowhere")


async def test_job_that_cannot_be_carried_out_names_the_field_until_it_is_right(platform: Platform) -> None:
    source = {"type": "File", "file": {"path": "films.csv"}}
    async with submitted(platform, job("unmounted", source)):
        await platform.wait("ingestionjob/unmounted", "Accepted=False")
        refused = await platform.condition("ingestionjob/unmounted", "Accepted")
        assert refused["reason"] == "InvalidSpec"
        assert refused["message"].startswith("spec.source.file.pvc: ")
        shown = await row(platform, "ingest/unmounted")
        assert (shown["PHASE"], shown["REASON"]) == ("Pending", "InvalidSpec")
        claim = {"source": {"file": {"pvc": "films"}}}
        await platform.patch("ingestionjob/unmounted", {"spec": claim})
        await platform.wait("ingestionjob/unmounted", "Accepted")


async def _deleted_child_is_back(platform: Platform, kind: ResourceKind) -> float:
    """Delete ingestion's child of a kind by hand; gives after how many seconds there is another."""
    namespace = platform.media.namespace
    assert namespace is not None
    async with platform.api() as api:

        async def child() -> Object | None:
            found = await api.list(kind, namespace, selector=f"{LABEL_NAME}=ingestion")
            assert len(found) <= 1
            return found[0] if found else None

        before = await child()
        assert before is not None
        await api.delete(kind, namespace, before["metadata"]["name"])
        began = time.monotonic()

        async def back() -> bool:
            now = await child()
            return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

        await eventually(back, timeout_s=10, interval_s=0.01)
        return time.monotonic() - began


async def test_deleted_children_of_a_live_gateway_are_back_at_once(
    platform: Platform, record_property: Any
) -> None:
    for kind in (SERVICE, CONFIG_MAP, DEPLOYMENT):
        took_s = await _deleted_child_is_back(platform, kind)
        record_property(f"seconds until a deleted {kind.kind} is back", round(took_s, 3))
    await platform.wait(GATEWAY, "Ready=False")
    await platform.wait(GATEWAY, "Ready", timeout_s=90)


async def _set_back(platform: Platform, before: Object) -> None:
    async def as_it_was() -> bool:
        return bool((await platform.get("deployment/demo-ingestion"))["spec"] == before["spec"])

    await eventually(as_it_was, timeout_s=10, interval_s=0.1)


async def test_foreign_change_is_set_back_and_told_and_what_is_not_declared_stays(platform: Platform) -> None:
    before = await platform.get("deployment/demo-ingestion")
    kube = platform.media
    await kube.text("annotate", "deployment/demo-ingestion", "example.org/team=films")
    await kube.text("label", "deployment/demo-ingestion", "team=films")
    await kube.text("set", "image", "deployment/demo-ingestion", "ingestion=localhost/somebody:1")
    await _set_back(platform, before)
    await kube.text("scale", "deployment/demo-ingestion", "--replicas=3")
    await _set_back(platform, before)

    async def told() -> str | None:
        events = (await platform.get("events"))["items"]
        found = [one["message"] for one in events if one["reason"] == "DriftCorrected"]
        return found[0] if found else None

    message = await eventually(told, timeout_s=10, interval_s=0.2)
    assert message is not None
    assert message.startswith("Deployment demo-ingestion: ")
    assert "image" in message
    metadata = (await platform.get("deployment/demo-ingestion"))["metadata"]
    assert metadata["annotations"]["example.org/team"] == metadata["labels"]["team"] == "films"
    await platform.wait(GATEWAY, "Ready", timeout_s=60)


async def test_paused_gateway_is_left_alone(platform: Platform) -> None:
    kube = platform.media
    await kube.text("annotate", GATEWAY, f"{PAUSED}=true")
    await platform.wait(GATEWAY, "Paused")
    await kube.text("delete", "service/demo-ingestion")
    await platform.patch(GATEWAY, {"spec": {"rollout": {"progressDeadlineSeconds": 601}}})
    await platform.seen(GATEWAY)
    assert "service/demo-ingestion" not in await kube.text("get", "services", "-o", "name")
    await kube.text("annotate", GATEWAY, f"{PAUSED}-")
    await platform.wait(GATEWAY, "Paused=False")

    async def back() -> bool:
        return "service/demo-ingestion" in await kube.text("get", "services", "-o", "name")

    await eventually(back, timeout_s=10, interval_s=0.1)
    await platform.patch(GATEWAY, {"spec": {"rollout": None}})
    await platform.wait(GATEWAY, "Ready", timeout_s=90)


@pytest.mark.needs("network_policy")
async def test_stranger_reaches_no_database_of_the_gateway(platform: Platform) -> None:
    # The first address answers as soon as the policies know the new pod; what they keep from it is asked after that.
    program = """\
import socket, time
def is_open(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except (TimeoutError, ConnectionRefusedError) as error:
        print(host, repr(error), flush=True)
        return False
    return True
while not is_open("demo-discovery", 8081):
    time.sleep(0.2)
print("let in", flush=True)
print("open" if is_open("demo-postgres", 5432) else "closed", flush=True)
time.sleep(3600)"""
    stranger = pod("stranger", platform.image("discovery"), "python", "-c", program)
    async with running(platform.media, stranger) as name:

        async def answered() -> list[str] | None:
            said = (await platform.media.text("logs", name)).splitlines()
            return said if said[-1:] in (["open"], ["closed"]) else None

        said = await eventually(answered, timeout_s=60, interval_s=0.5)
        assert said is not None
        assert said[-1] == "closed", said


async def test_namespace_goes_away_while_the_operator_works_in_it(
    platform: Platform, record_property: Any
) -> None:
    doomed = platform.doomed
    await doomed.text("apply", "-f", str(ROOT / "samples"))

    async def working() -> bool:
        pods = (await doomed("get", "pods"))["items"]
        return any(one["status"]["phase"] == "Running" for one in pods)

    await eventually(working, timeout_s=60, interval_s=0.5)
    began = time.monotonic()
    await doomed.text("delete", "namespace", str(doomed.namespace), "--timeout=120s", timeout_s=130)
    record_property(
        "seconds until a namespace with a starting gateway is gone", round(time.monotonic() - began, 1)
    )
    # Its role went with it; the operator goes on where it still may, and begins there anew.
    await _deleted_child_is_back(platform, SERVICE)
    pods = (await platform.system("get", "pods"))["items"]
    assert [status["restartCount"] for one in pods for status in one["status"]["containerStatuses"]] == [0]
    await platform.system.text("rollout", "restart", platform.operator)
    await platform.system.text("rollout", "status", platform.operator, "--timeout=120s", timeout_s=130)
    await platform.patch(GATEWAY, {"spec": {"rollout": {"progressDeadlineSeconds": 602}}})
    await platform.seen(GATEWAY, timeout_s=60)
    await _deleted_child_is_back(platform, SERVICE)
