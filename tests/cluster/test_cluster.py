"""The test cluster itself: what every other cluster test takes for granted."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
import pytest

from tests.cluster.access import Cluster, Kubectl, KubectlError, fresh_namespace
from tests.cluster.machine.commands import run
from tests.cluster.machine.network import taken_by
from tests.support.servers import run_here
from tests.support.waiting import eventually

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(name: str, *command: str, image: str, **container: Any) -> dict[str, Any]:
    one = {"name": "main", "image": image, "command": list(command), "imagePullPolicy": "IfNotPresent",
           "securityContext": RESTRICTED, **container}  # fmt: skip
    spec = {"containers": [one], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def python_image(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Python that pods of the cluster can use."""
    if not cluster.can("node"):
        pytest.skip(f"{cluster.provider}: this cluster runs no pods")
    if not cluster.can("reachable", "images"):
        return "docker.io/library/python:3.12-slim-bookworm"  # its node reaches a registry
    from tests.cluster.machine.base_image import base_image
    from tests.cluster.machine.places import cache_folder

    name = base_image(cache_folder())
    archive = tmp_path_factory.mktemp("images") / "base.tar"
    run("buildah", "push", "--quiet", name, f"docker-archive:{archive}:{name}", timeout_s=300)
    cluster.load_image(archive)
    return name


@pytest.mark.needs("node")
async def test_node_is_ready(kubectl: Kubectl) -> None:
    nodes = (await kubectl("get", "nodes"))["items"]
    assert nodes
    for node in nodes:
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"


async def test_tokens_of_service_accounts_can_be_checked_by_others(kubectl: Kubectl) -> None:
    told = json.loads(await kubectl.text("get", "--raw", "/.well-known/openid-configuration"))
    keys = json.loads(await kubectl.text("get", "--raw", "/openid/v1/jwks"))["keys"]
    assert told["issuer"].startswith("https://kubernetes.default.svc")
    assert keys
    assert all(key["use"] == "sig" for key in keys)


async def test_pod_that_wants_to_be_root_is_refused(kube: Kubectl) -> None:
    greedy = pod("greedy", "true", image="none", securityContext={"runAsUser": 0})
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        await kube("create", "-f", "-", document=greedy)


async def test_restricted_pod_runs_and_its_log_is_read(kube: Kubectl, python_image: str) -> None:
    await kube("create", "-f", "-", document=pod("runner", "id", "-u", image=python_image))
    await kube.text(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/runner", "--timeout=100s", timeout_s=110
    )
    assert (await kube.text("logs", "runner")).strip() == "10001"


async def test_root_of_the_file_system_is_read_only(kube: Kubectl, python_image: str) -> None:
    await kube("create", "-f", "-", document=pod("writer", "touch", "/there", image=python_image))
    await kube.text(
        "wait", "--for=jsonpath={.status.phase}=Failed", "pod/writer", "--timeout=100s", timeout_s=110
    )
    assert "Read-only file system" in await kube.text("logs", "writer")


async def test_pods_find_services_by_name(web: Kubectl) -> None:
    async def answered(host: str) -> bool:
        ask = f"import urllib.request as r; print(r.urlopen('http://{host}:8000/etc/hostname', timeout=5).status)"
        return (await web.text("exec", "web", "--", "python3", "-c", ask)).strip() == "200"

    for host in ("web", f"web.{web.namespace}", f"web.{web.namespace}.svc.cluster.local"):
        await eventually(partial(answered, host), timeout_s=60)


async def test_unknown_service_name_is_not_found_at_once(web: Kubectl) -> None:
    ask = """\
import socket, time
begun = time.monotonic()
try:
    socket.getaddrinfo("nobody", 80)
except socket.gaierror:
    print(time.monotonic() - begun)"""
    # A resolver that waits for an answer waits five seconds.
    assert float(await web.text("exec", "web", "--", "python3", "-c", ask)) < 4


@pytest.mark.needs("reachable")
async def test_this_machine_reaches_pods_and_services(web: Kubectl) -> None:
    service = (await web("get", "service", "web"))["spec"]["clusterIP"]
    address = (await web("get", "pod", "web"))["status"]["podIP"]
    async with aiohttp.ClientSession() as session:

        async def answered(host: str) -> bool:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://{host}:8000/etc/hostname") as answer:
                    return answer.status == 200
            return False

        assert await answered(address)
        await eventually(lambda: answered(service), timeout_s=60)


@pytest.mark.needs("reachable")
async def test_nothing_leaves_the_network_of_the_cluster(web: Kubectl, cluster: Cluster) -> None:
    """Neither to an address of the Service range that nobody has, nor to one of the internet."""
    network = taken_by(cluster.kubeconfig.parent)
    assert network is not None
    assert "default" not in run("ip", "-n", network.name, "route")
    for address in (str(network.services[-2]), "192.0.2.1"):
        ask = f"import socket; socket.create_connection(('{address}', 80), timeout=10)"
        with pytest.raises(KubectlError, match="exit code 1"):
            await web.text("exec", "web", "--", "python3", "-c", ask)


@pytest.mark.needs("network_policy")
async def test_network_policy_closes_and_opens(web: Kubectl, python_image: str) -> None:
    """And the node's own probes pass it: the pod stays ready."""
    for name in ("friend", "stranger"):
        await web("create", "-f", "-", document=pod(name, "sleep", "3600", image=python_image))
        await web.text("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=100s", timeout_s=110)
    address = (await web("get", "pod", "web"))["status"]["podIP"]

    async def reached(name: str) -> bool:
        ask = f"import urllib.request as r; r.urlopen('http://{address}:8000/etc/hostname', timeout=3)"
        with suppress(KubectlError):
            await web.text("exec", name, "--", "python3", "-c", ask)
            return True
        return False

    async def closed_to(name: str) -> bool:
        return not await reached(name)

    assert await reached("stranger")
    allowed = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": 8000}]}
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [allowed]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": spec,
    }
    await web("create", "-f", "-", document=policy)
    await eventually(lambda: closed_to("stranger"), timeout_s=60)
    assert await reached("friend")
    ready = (await web("get", "pod", "web"))["status"]["containerStatuses"][0]["ready"]
    assert ready
    await web.text("delete", "networkpolicy", "web")
    await eventually(lambda: reached("stranger"), timeout_s=60)


async def test_volume_claim_is_served(kube: Kubectl, python_image: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}
    keeper = pod("keeper", "touch", "/data/there", image=python_image,
                 volumeMounts=[{"name": "data", "mountPath": "/data"}])  # fmt: skip
    keeper["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    keeper["spec"]["securityContext"] = {"fsGroup": 10001}
    await kube("create", "-f", "-", document=[claim, keeper])
    await kube.text(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/keeper", "--timeout=100s", timeout_s=110
    )


@pytest.fixture(scope="module")
def web(kubectl: Kubectl, python_image: str) -> Iterator[Kubectl]:
    """The namespace of a ready pod that serves files behind a Service; both are called `web`."""
    ready = {"httpGet": {"port": 8000, "path": "/etc/hostname"}, "periodSeconds": 1, "timeoutSeconds": 5}
    server = pod("web", "python3", "-m", "http.server", "8000", image=python_image, readinessProbe=ready)
    spec = {"selector": {"app": "web"}, "ports": [{"port": 8000}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}

    async def begin() -> Kubectl:
        own = await fresh.__aenter__()
        await own("create", "-f", "-", document=[server, service])
        await own.text("wait", "--for=condition=Ready", "pod/web", "--timeout=100s", timeout_s=110)
        return own

    fresh = fresh_namespace(kubectl)
    try:
        yield run_here(begin())
    finally:
        run_here(fresh.__aexit__(None, None, None))
