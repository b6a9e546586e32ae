"""Helm on a cluster that runs pods: from nothing to a search answer, an upgrade with live resources, and away again."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from media_gateway_operator.kube.kinds import RECONCILE_AT
from tests.charts.helm import CHARTS, GATEWAY, OPERATOR, Helm
from tests.cluster.access import Cluster, Kubectl, KubectlError
from tests.support.kube_api import ApiError, KubeApi
from tests.support.waiting import eventually

# Together and in this order: each step needs the one before, and a cluster has one operator of its own at most.
pytestmark = [
    pytest.mark.needs("node", "images"),
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

FILMS = 500
"""Enough to be found among, and few enough that the time told is that of the platform's start."""

LABELS = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass
class Installation:
    """Both releases, each in a namespace of its own."""

    cluster: Cluster
    helm: Helm
    system: Kubectl
    media: Kubectl
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def watched(self) -> tuple[str, str]:
        """The operator keeps to this namespace: other tests may have resources, and operators, in this cluster."""
        return ("--set", f"watchNamespaces={{{self.media.namespace}}}")

    async def search(self, text: str) -> dict[str, Any]:
        """An answer of discovery, through its Service."""
        inside = f"/api/v1/namespaces/{self.media.namespace}/services/media-discovery:8081/proxy"
        async with KubeApi(self.cluster.kubeconfig) as api:
            found: dict[str, Any] = await api.request("POST", f"{inside}/api/v1/search", {"query": text})
        return found

    async def finds(self, text: str) -> bool:
        """Whether there is an answer with results; anything else is "not yet"."""
        try:
            return bool((await self.search(text))["results"])
        except (ApiError, KeyError, ValueError):
            return False

    async def pods(self) -> dict[str, tuple[str, int]]:
        """Name to uid and restarts, of pods that serve."""
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(status["restartCount"] for status in pod["status"].get("containerStatuses", ())),
            )
            for pod in (await self.media("get", "pods"))["items"]
            if pod["status"]["phase"] == "Running"
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(cluster: Cluster, images: None) -> AsyncIterator[Installation]:
    """Both charts as a first user installs them, until a search has an answer."""
    mark = uuid.uuid4().hex[:6]
    kubectl = Kubectl(cluster)
    spaces = [f"system-{mark}", f"media-{mark}"]
    for name in spaces:
        await kubectl("create", "-f", "-", document={
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": LABELS},
        })  # fmt: skip
    one = Installation(
        cluster, Helm(cluster.helm, cluster.environment), kubectl.within(spaces[0]), kubectl.within(spaces[1])
    )
    try:
        await _install(one)
        yield one
    finally:
        for release, kube in (("media", one.media), ("media-gateway-operator", one.system)):
            one.helm.run("uninstall", release, "--namespace", str(kube.namespace), "--ignore-not-found")
        for name in spaces:
            await kubectl.text("delete", "namespace", name, "--wait=false", "--ignore-not-found")


async def _install(one: Installation) -> None:
    began = time.monotonic()

    def passed(what: str) -> None:
        one.seconds[what] = round(time.monotonic() - began, 1)

    one.helm.run("install", "media-gateway-operator", CHARTS / OPERATOR, "--namespace", str(one.system.namespace),
                 "--take-ownership", *one.watched)  # fmt: skip
    one.helm.run("install", "media", CHARTS / GATEWAY, "--namespace", str(one.media.namespace),
                 "--set", "spec.profile=Development", "--set", f"demo.enabled=true,demo.limit={FILMS}")  # fmt: skip
    passed("installed")
    wait = ("wait", "mediagateway/media", "--for=condition=Ready", "--timeout=300s")
    await one.media.text(*wait, timeout_s=310)
    passed("ready")
    await eventually(lambda: one.finds("love"), timeout_s=240, interval_s=0.5)
    passed("first answer")


async def test_a_search_is_answered_soon_after_helm_install(
    installation: Installation, record_property: Callable[[str, object], None]
) -> None:
    for what, seconds in installation.seconds.items():
        record_property(f"seconds from helm install: {what}", seconds)
    assert (await installation.search("love"))["results"]


async def test_demo_is_read_to_its_end(installation: Installation) -> None:
    wait = ("wait", "ingestionjob/media-demo", "--for=condition=Complete", "--timeout=240s")
    await installation.media.text(*wait, timeout_s=250)
    job = await installation.media("get", "ingestionjob/media-demo")
    assert job["status"]["progress"]["read"] == FILMS


async def test_both_operator_pods_are_ready_and_one_leads(installation: Installation) -> None:
    await installation.system.text(
        "rollout", "status", "deployment/media-gateway-operator", "--timeout=60s", timeout_s=70
    )
    pods = (await installation.system("get", "pods"))["items"]
    lease = await installation.system("get", "lease/media-gateway-operator")
    assert len(pods) == 2
    assert lease["spec"]["holderIdentity"] in {pod["metadata"]["name"] for pod in pods}


async def test_helm_test_runs_a_job_to_its_end(installation: Installation) -> None:
    said = installation.helm.run(
        "test", "media", "--namespace", str(installation.media.namespace), "--logs", timeout_s=300
    )
    assert "Phase:          Succeeded" in said
    assert "complete after" in said
    jobs = [job["metadata"]["name"] for job in (await installation.media("get", "ingestionjobs"))["items"]]
    assert jobs == ["media-demo"]


async def test_upgrade_of_the_operator_restarts_no_pod_of_the_platform(installation: Installation) -> None:
    before = await installation.pods()
    revision = (*installation.watched, "--set", "podAnnotations.revision=next")
    installation.helm.run("upgrade", "media-gateway-operator", CHARTS / OPERATOR, "--namespace",
                          str(installation.system.namespace), *revision)  # fmt: skip
    rollout = ("rollout", "status", "deployment/media-gateway-operator", "--timeout=120s")
    await installation.system.text(*rollout, timeout_s=130)
    await _looked_at_anew(installation)
    assert await installation.pods() == before


async def _looked_at_anew(installation: Installation) -> None:
    """Wait until the new operator has reconciled the gateway: it repairs what is taken away."""

    async def led_by_a_new_pod() -> bool:
        lease = await installation.system("get", "lease/media-gateway-operator")
        pods = {pod["metadata"]["name"] for pod in (await installation.system("get", "pods"))["items"]}
        return lease["spec"]["holderIdentity"] in pods

    await eventually(led_by_a_new_pod, timeout_s=60, interval_s=0.5)
    await installation.media.text(
        "annotate", "mediagateway/media", f"{RECONCILE_AT}=after-the-upgrade", "--overwrite"
    )
    await installation.media.text("delete", "serviceaccount/media-discovery")

    async def repaired() -> bool:
        return bool(await installation.media("get", "serviceaccount/media-discovery"))

    await eventually(repaired, timeout_s=60, interval_s=0.2)


async def test_platform_answers_without_its_operator(installation: Installation) -> None:
    said = installation.helm.run(
        "uninstall",
        "media-gateway-operator",
        "--namespace",
        str(installation.system.namespace),
        "--wait",
        timeout_s=120,
    )
    assert "kept due to the resource policy" in said

    async def gone() -> bool:
        return not (await installation.system("get", "pods"))["items"]

    await eventually(gone, timeout_s=60, interval_s=0.5)
    assert (await installation.media("get", "mediagateway/media"))["spec"]["profile"] == "Development"
    assert (await installation.search("love"))["results"]


async def test_namespace_goes_away_without_the_operator(installation: Installation) -> None:
    """With a gateway, jobs and pods in it, and nobody there to let go of anything."""
    kubectl = Kubectl(installation.cluster)
    name = str(installation.media.namespace)
    await kubectl.text("delete", "namespace", name, "--timeout=120s", timeout_s=130)
    with pytest.raises(KubectlError, match="not found"):
        await kubectl("get", f"namespace/{name}")
