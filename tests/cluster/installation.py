"""The operator by its chart in two namespaces, and the samples in one of them: what the stories on real pods begin with.

Made once for a run, by the fixture `platform`. The operator watches its own namespaces only, so that nothing else in the
cluster is touched, and no other test's resources are.
"""

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.charts.helm import CHARTS, OPERATOR, Helm
from tests.cluster.access import Cluster, Kubectl, KubectlError
from tests.cluster.machine.commands import say
from tests.support.kube_api import ApiError, KubeApi
from tests.support.servers import run_here
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

RELEASE: Final = "stories"
REGISTRY: Final = "localhost"

FILM: Final = "the intouchabels"
"""Nearly the title of a film of the demo's first batch."""
TITLE: Final = "The Intouchables"

POD_SECURITY: Final = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True, slots=True)
class Platform:
    """The operator and what it looks after."""

    cluster: Cluster
    system: Kubectl
    """Where the operator runs."""
    media: Kubectl
    """Where the samples are."""
    doomed: Kubectl
    """Looked after too, and empty; for the test that deletes it."""
    seconds: dict[str, float] = field(default_factory=dict)
    """From `kubectl apply -f samples/` until something was the case."""

    def image(self, target: str) -> str:
        """Name of one of the project's images."""
        return f"{REGISTRY}/media-gateway-{target}:{self.version}"

    @property
    def version(self) -> str:
        """Of the images."""
        from media_gateway import __version__

        return __version__

    @property
    def operator(self) -> str:
        """Its Deployment."""
        return f"deployment/{RELEASE}-{OPERATOR}"

    async def get(self, resource: str) -> dict[str, Any]:
        """An object of the samples' namespace, or a list of them."""
        found: dict[str, Any] = await self.media("get", resource)
        return found

    async def status(self, resource: str) -> dict[str, Any]:
        """The status of an object; empty if it has none yet."""
        return (await self.get(resource)).get("status") or {}

    async def condition(self, resource: str, type_: str) -> dict[str, Any]:
        """A condition of an object; empty if it has none of that type."""
        known = (await self.status(resource)).get("conditions") or ()
        return next((one for one in known if one["type"] == type_), {})

    async def wait(self, resource: str, condition: str, *, timeout_s: int = 60) -> None:
        """``kubectl wait --for=condition=…``; says how things stand when time is over."""
        wait = ("wait", resource, f"--for=condition={condition}", f"--timeout={timeout_s}s")
        try:
            await self.media.text(*wait, timeout_s=timeout_s + 10)
        except KubectlError as error:
            now = json.dumps(await self.status(resource), indent=1)
            pods = await self.media.text("get", "pods")
            log = await self.system.text("logs", self.operator, "--tail=20")
            raise AssertionError(f"{error}\n{now}\n{pods}\n{log}") from error

    async def patch(self, resource: str, change: dict[str, Any]) -> None:
        """A JSON merge patch, as a user makes it."""
        await self.media.text("patch", resource, "--type=merge", "--patch", json.dumps(change))

    async def seen(self, resource: str, *, timeout_s: float = 30) -> None:
        """Wait until the operator has dealt with the present spec of an object."""

        async def observed() -> bool:
            now = await self.get(resource)
            generation: int = now["metadata"]["generation"]
            return bool(now["status"].get("observedGeneration") == generation)

        await eventually(observed, timeout_s=timeout_s, interval_s=0.2)

    async def search(self, text: str, service: str = "demo-discovery") -> list[str]:
        """Titles that discovery finds, asked through its Service."""
        inside = f"/api/v1/namespaces/{self.media.namespace}/services/{service}:8081/proxy"
        async with self.api() as api:
            found = await api.request("POST", f"{inside}/api/v1/search", {"query": text})
        return [one["content"]["title"] for one in found["results"]]

    async def reasons(self, name: str) -> set[str]:
        """Reasons of the Events about an object."""
        found = (await self.get("events"))["items"]
        return {one["reason"] for one in found if one["involvedObject"]["name"] == name}

    def api(self) -> KubeApi:
        """A client of the API server that is quick enough to time the operator with."""
        return KubeApi(self.cluster.kubeconfig)


@contextmanager
def installed(cluster: Cluster) -> Iterator[Platform]:
    """Install it for a block."""
    platform = _platform(cluster)
    helm = Helm(cluster.helm, cluster.environment)
    try:
        run_here(_begin(platform, helm))
        yield platform
    finally:
        helm.run("uninstall", RELEASE, "--namespace", str(platform.system.namespace), "--ignore-not-found")
        run_here(_drop(platform))


def _platform(cluster: Cluster) -> Platform:
    mark = uuid.uuid4().hex[:6]
    system, media, doomed = (Kubectl(cluster, f"{part}-{mark}") for part in ("operator", "media", "doomed"))
    return Platform(cluster, system, media, doomed)


async def _begin(platform: Platform, helm: Helm) -> None:
    anyone = Kubectl(platform.cluster)
    # It would look after our namespaces too, and the two would undo each other's work.
    other = await anyone.text("get", "clusterrole", "media-gateway-operator", "--ignore-not-found")
    assert not other, "an operator for all namespaces is installed in this cluster: uninstall it first"
    for kube in (platform.system, platform.media, platform.doomed):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        document = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": kube.namespace, "labels": labels},
        }
        await anyone("create", "-f", "-", document=document)
    await anyone.text("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    watched = f"watchNamespaces={{{platform.media.namespace},{platform.doomed.namespace}}}"
    helm.run("install", RELEASE, CHARTS / OPERATOR, "--namespace", str(platform.system.namespace),
             "--set", "crds.enabled=false,replicaCount=1", "--set", watched)  # fmt: skip
    await _apply_samples(platform)


async def _apply_samples(platform: Platform) -> None:
    began = time.monotonic()

    def passed(what: str) -> None:
        platform.seconds[what] = round(time.monotonic() - began, 1)

    await platform.media.text("apply", "-f", str(ROOT / "samples"))
    await platform.wait("mediagateway/demo", "Ready", timeout_s=300)
    passed("gateway ready")

    async def found() -> bool:
        try:
            return TITLE in await platform.search(FILM)
        except ApiError:
            return False

    await eventually(found, timeout_s=240, interval_s=0.5)
    passed("first answer")
    # All of the catalogue takes minutes of both processors, which the stories need for themselves.
    await platform.patch("ingestionjob/demo", {"spec": {"suspend": True}})
    await platform.wait("ingestionjob/demo", "Suspended")


async def _drop(platform: Platform) -> None:
    for kube in (platform.media, platform.doomed, platform.system):
        command = ("delete", "namespace", str(kube.namespace), "--wait=false", "--ignore-not-found")
        try:
            await kube.text(*command)
        except KubectlError as error:
            say(f"{kube.namespace} is left behind: {error}")


def pod(name: str, image: str, *command: str) -> dict[str, Any]:
    """A pod that PodSecurity `restricted` admits, and that runs once."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        # Without a request it would get what the others leave of a busy node: nothing.
        "resources": {"requests": {"cpu": "100m"}},
        "securityContext": CONTAINER_SECURITY,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "restartPolicy": "Never",
            "securityContext": POD_SECURITY,
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
        },
    }


@asynccontextmanager
async def running(kube: Kubectl, manifest: dict[str, Any]) -> AsyncIterator[str]:
    """A pod that runs for a block; gives its name."""
    name: str = manifest["metadata"]["name"]
    await kube("create", "-f", "-", document=manifest)
    try:
        await kube.text("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s", timeout_s=70)
        yield name
    finally:
        await kube.text("delete", f"pod/{name}", "--wait=false", "--ignore-not-found")
