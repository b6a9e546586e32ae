"""IngestionJob against a real API server and the real Job and CronJob controllers; the kubelet is played by the test.

So a test says when a pod gets ready and how it ends, and the answer of Kubernetes to that is the real one.
"""

import itertools
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio

from media_gateway_operator.kube.kinds import (
    CRON_JOB,
    INGESTION_JOB,
    JOB,
    Object,
)
from tests.support.control_plane import CONTROLLERS, ControlPlane, install_crds
from tests.support.job_place import Place
from tests.support.kube_api import KubeApi
from tests.support.operator_process import QUICK, OperatorProcess
from tests.support.operator_scenario import (
    drop_namespace,
    gateway,
    namespace_named,
    servers_secret,
)
from tests.support.servers import run_here
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

_numbers = itertools.count(1)

WITH_SECRET = {
    "source": {
        "type": "HTTP",
        "http": {
            "url": "https://films.example/all",
            "auth": {"type": "Bearer", "secretRef": {"name": "films", "key": "token"}},
        },
    }
}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """An API server with the Job and CronJob controllers."""
    from tests.cluster.machine.places import cache_folder
    from tests.cluster.machine.programs import programs

    async def begin(plane: ControlPlane) -> None:
        await plane.ready()
        async with KubeApi(plane.kubeconfig) as api:
            await install_crds(api)

    plane = ControlPlane(programs(cache_folder()))
    controllers = f"--controllers={CONTROLLERS},job-controller,cronjob-controller"
    plane._commands["kube-controller-manager"] = [
        controllers if argument.startswith("--controllers=") else argument
        for argument in plane._commands["kube-controller-manager"]
    ]
    with plane:
        run_here(begin(plane))
        yield plane


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OperatorProcess]:
    """One operator for all namespaces."""
    async with KubeApi(plane.kubeconfig) as api:
        await api.create(namespace_named("jobs-operator"))
    async with OperatorProcess(
        kubeconfig=plane.kubeconfig,
        folder=tmp_path_factory.mktemp("operator"),
        namespace="jobs-operator",
        settings=QUICK,
    ) as operator:
        yield operator
        assert operator.complaints() == []


@pytest_asyncio.fixture(loop_scope="module")
async def place(plane: ControlPlane, operator: OperatorProcess) -> AsyncIterator[Place]:
    """A namespace with a migrated gateway."""
    namespace = f"jobs-{next(_numbers)}"
    async with KubeApi(plane.kubeconfig) as api:
        await api.create(namespace_named(namespace))
        found = Place(api, namespace, operator)
        await api.create(servers_secret(namespace))
        await api.create(gateway(namespace))
        await found.migrated()
        yield found
        await drop_namespace(api, namespace)


async def test_a_job_runs_to_its_end_and_stays_there(place):
    await place.submit("films")
    await place.until("films", "Accepted", "True")
    await place.starts("films")
    await place.until("films", "Running", "True")
    status = await place.status("films")
    assert (status["phase"], status["attempt"], len(status["active"])) == ("Running", 1, 1)
    await place.ends("films", 0)
    await place.until("films", "Complete", "True", "Completed")
    job = await place.job("films")
    await place.api.delete(JOB, place.name, job["metadata"]["name"])
    await place.change("films", batchSize=77)

    async def seen() -> bool:
        return bool((await place.status("films"))["observedGeneration"] == 2)

    await eventually(seen)
    assert await place.jobs("films") == []
    assert {"Started", "Completed"} <= await place.events("films")


async def test_a_missing_secret_is_named_and_heals(place):
    await place.submit("films", **WITH_SECRET)
    wrong = await place.until("films", "Accepted", "False", "InvalidReference")
    assert "there is no Secret films" in wrong["message"]
    assert await place.jobs("films") == []
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "films", "namespace": place.name}}
    await place.api.create({**secret, "stringData": {"token": "t"}})
    await place.until("films", "Accepted", "True")
    await place.pod("films")


async def test_suspend_stops_the_pod_and_resume_starts_another(place):
    await place.submit("films")
    pod = await place.starts("films")
    await place.until("films", "Running", "True")
    await place.change("films", suspend=True)
    await place.until("films", "Suspended", "False", "Suspending")
    await place.gone(pod)
    await place.until("films", "Suspended", "True")
    await place.change("films", suspend=False)
    await place.starts("films")
    await place.until("films", "Running", "True")
    assert (await place.status("films"))["attempt"] == 1
    assert {"Suspended", "Resumed"} <= await place.events("films")


async def test_a_passing_failure_is_tried_again_and_a_fatal_one_is_not(place):
    await place.submit("films")
    await place.starts("films")
    await place.ends("films", 1, "Postgres was away")
    await place.until("films", "Running", "False", "Retrying")
    last = (await place.status("films"))["lastRun"]
    assert (last["exitCode"], last["logTail"]) == (1, "Postgres was away")
    await place.starts("films")  # kube-controller-manager waits ten seconds first
    await place.until("films", "Running", "True")
    assert (await place.status("films"))["attempt"] == 2
    await place.ends("films", 77, '{"message": "the source says 401"}')
    failed = await place.until("films", "Failed", "True", "PermissionDenied")
    assert failed["message"] == "exit code 77: the source refuses the credentials: the source says 401"
    assert (await place.status("films"))["attempt"] == 2
    assert {"Retrying", "Failed"} <= await place.events("films")


async def test_too_many_failures_are_the_end(place):
    await place.submit("films", backoffLimit=0)
    await place.starts("films")
    await place.ends("films", 1, "away")
    failed = await place.until("films", "Failed", "True", "BackoffLimitExceeded")
    assert failed["message"].startswith("1 attempts failed, the last one: exit code 1")


async def test_a_running_jobs_job_deleted_by_hand_is_back_within_a_second(place):
    await place.submit("films")
    pod = await place.starts("films")
    await place.until("films", "Running", "True")
    before = await place.job("films")
    await place.api.delete(JOB, place.name, before["metadata"]["name"])
    began = time.monotonic()

    async def back() -> Object | None:
        found = await place.api.get(JOB, place.name, before["metadata"]["name"])
        return found if found and found["metadata"]["uid"] != before["metadata"]["uid"] else None

    job = await eventually(back, timeout_s=10, interval_s=0.02)
    assert time.monotonic() - began <= 1.0
    assert job is not None
    assert job["spec"]["suspend"] is True, "the old pod still writes"
    await place.gone(pod)
    await place.starts("films")
    await place.until("films", "Running", "True")
    assert (await place.status("films"))["attempt"] == 2


async def test_a_changed_spec_waits_for_the_old_pod(place):
    await place.submit("films")
    pod = await place.starts("films")
    await place.until("films", "Running", "True")
    await place.change("films", batchSize=77)
    await place.until("films", "Running", "False", "WaitingForPods")
    await place.gone(pod)
    await place.starts("films")
    await place.until("films", "Running", "True")
    assert (
        "77"
        in (await place.job("films"))["spec"]["template"]["metadata"]["annotations"][
            "mediagateway.io/manifest"
        ]
    )


async def test_limits_change_in_place_and_undeclared_fields_survive(place):
    await place.submit("films", activeDeadlineSeconds=600)
    await place.starts("films")
    job = await place.job("films")
    label = {"metadata": {"labels": {"kept": "yes"}}}
    await place.api.patch(JOB, place.name, job["metadata"]["name"], label, manager="somebody")
    await place.change("films", backoffLimit=9, activeDeadlineSeconds=None)

    async def changed() -> bool:
        now = await place.job("films")
        return bool(
            now["metadata"]["uid"] == job["metadata"]["uid"]
            and now["spec"]["backoffLimit"] == 9
            and "activeDeadlineSeconds" not in now["spec"]
            and now["metadata"]["labels"]["kept"] == "yes"
        )

    await eventually(changed)


async def test_a_job_whose_pod_never_starts_is_given_up(place):
    await place.submit("films", preRunningDeadlineSeconds=3)
    failed = await place.until("films", "Failed", "True", "PreRunningDeadlineExceeded")
    assert "spec.preRunningDeadlineSeconds" in failed["message"]

    async def stopped() -> bool:
        return not await place.jobs("films")

    await eventually(stopped)


async def test_a_finished_job_is_deleted_after_its_time(place):
    await place.submit("films", ttlSecondsAfterFinished=2)
    await place.starts("films")
    await place.ends("films", 0)
    await place.until("films", "Complete", "True")

    async def gone() -> bool:
        return await place.api.get(INGESTION_JOB, place.name, "films") is None

    await eventually(gone)


async def test_a_schedule_runs_and_its_runs_are_told(place):
    await place.submit("films", schedule="* * * * *", timeZone="Asia/Tokyo")
    await place.until("films", "Running", "False", "WaitingForSchedule")
    cron = await place.api.get(CRON_JOB, place.name, "films")
    assert cron is not None
    assert cron["spec"]["timeZone"] == "Asia/Tokyo"
    assert (await place.status("films"))["nextScheduleTime"].endswith(":00Z")
    await place.runs_now("films", "films-1")
    await place.starts("films")
    await place.until("films", "Running", "True")
    await place.ends("films", 78, "no such setting")
    failed = await place.until("films", "Failed", "True", "LastRunFailed")
    assert "no such setting" in failed["message"]
    await place.change("films", suspend=True)
    await place.until("films", "Suspended", "True")
    cron = await place.api.get(CRON_JOB, place.name, "films")
    assert cron is not None
    assert cron["spec"]["suspend"] is True


async def test_a_run_of_a_schedule_whose_pod_never_starts_is_ended(place):
    await place.submit("films", schedule="0 0 1 1 *", preRunningDeadlineSeconds=2)
    await place.until("films", "Running", "False", "WaitingForSchedule")
    await place.runs_now("films", "films-1")
    failed = await place.until("films", "Failed", "True", "LastRunFailed")
    assert "spec.preRunningDeadlineSeconds" in failed["message"]

    async def stopped() -> bool:
        return not await place.jobs("films")

    await eventually(stopped)
    assert (await place.status("films"))["lastRun"]["reason"] == "PreRunningDeadlineExceeded"


async def test_a_pod_reports_and_its_progress_is_in_the_status(place):
    await place.submit("films")
    pod = await place.starts("films")
    await place.until("films", "Running", "True")
    bound = {
        "kind": "Pod",
        "apiVersion": "v1",
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
    }
    spec = {"audiences": ["media-gateway-operator"], "boundObjectRef": bound, "expirationSeconds": 600}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{place.name}/serviceaccounts/default/token"
    token = (await place.api.request("POST", path, request))["status"]["token"]
    body = {
        "state": "Running",
        "read": 10,
        "written": 9,
        "skipped": 0,
        "failed": 1,
        "percent": 12.5,
        "cursor": "c1",
    }
    url = f"http://127.0.0.1:{place.operator.progress_port}/v1/progress/{place.name}/films"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.post(url, json=body) as answer,
    ):
        assert answer.status == 204, await answer.text()

    async def shown() -> bool:
        status = await place.status("films")
        return bool((status.get("progress") or {}).get("read") == 10 and status["cursor"]["value"] == "c1")

    await eventually(shown)
    await place.ends("films", 0)
    await place.until("films", "Complete", "True")
    assert (await place.status("films"))["progress"]["percent"] == 12, "what was reported stays"
