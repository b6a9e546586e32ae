"""The charts against an API server: every manifest is taken, the operator's rights are what they are said to be."""

import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helm import CHARTS, GATEWAY, OPERATOR, Helm, HelmError, ci_values, of_kind
from tests.cluster.access import Cluster, Kubectl
from tests.cluster.machine.places import cache_folder
from tests.cluster.machine.programs import programs
from tests.support.control_plane import ControlPlane
from tests.support.kube_api import Upstream
from tests.support.kube_proxy import FaultProxy
from tests.support.operator_stage import Stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

MATRIX = [
    pytest.param(chart, values, id=f"{chart}-{values.stem.removesuffix('-values')}")
    for chart in (OPERATOR, GATEWAY)
    for values in ci_values(chart)
]
FOREIGN = {"ServiceMonitor"}
"""Kinds whose definitions are somebody else's."""

DEFINITION = "ratelimitpolicies.mediagateway.io"


@pytest.fixture(scope="module")
def own(control_plane: ControlPlane) -> Cluster:
    built = programs(cache_folder())

    def refuse(*_: object) -> None:
        raise AssertionError("there is no node")

    return Cluster("own", control_plane.kubeconfig, "own", frozenset(), built["kubectl"], built.helm, refuse)


@pytest.fixture(scope="module")
def helm(own: Cluster) -> Helm:
    return Helm(own.helm, own.environment)


@pytest.fixture
async def kube(own: Cluster) -> AsyncIterator[Kubectl]:
    """A namespace, deleted afterwards."""
    kubectl = Kubectl(own)
    name = f"charts-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await kubectl("create", "-f", "-", document=namespace(name, labels))
    yield kubectl.within(name)
    await kubectl.text("delete", "namespace", name, "--wait=false")


def namespace(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


@pytest.mark.parametrize(("chart", "values"), MATRIX)
async def test_every_manifest_is_taken(helm: Helm, kube: Kubectl, chart: str, values: Any) -> None:
    sets = [f"watchNamespaces={{{kube.namespace}}}"] if "namespaced" in values.name else []
    manifests = [
        manifest
        for manifest in helm.render(chart, values=values, sets=sets, namespace=str(kube.namespace))
        if manifest["kind"] not in FOREIGN
    ]
    if accounts := of_kind(manifests, "ServiceAccount"):
        # Looked up when a pod is admitted, also in a rehearsal.
        await kube("apply", "-f", "-", document=accounts)
    said = await kube.text(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--field-manager=charts",
        "--validate=strict", "-f", "-", document=manifests,
    )  # fmt: skip
    assert said.count("serverside-applied") == len(manifests)


@pytest.mark.parametrize("chart", [OPERATOR, GATEWAY])
async def test_install_can_be_rehearsed(helm: Helm, kube: Kubectl, chart: str) -> None:
    """With a server to ask, Helm also runs what looks into the cluster."""
    sets = ["--set", "spec.profile=Development"] if chart == GATEWAY else []
    said = helm.run("install", "rehearsal", CHARTS / chart, "--namespace", str(kube.namespace), "--dry-run=server",
                    "--take-ownership", *sets)  # fmt: skip
    assert "STATUS: pending-install" in said
    assert "Next:" in said


async def test_production_without_servers_is_refused_in_words(helm: Helm, kube: Kubectl) -> None:
    with pytest.raises(HelmError, match=r"profile Production needs dependencies\.postgres\.dsnSecretRef"):
        helm.run("install", "media", CHARTS / GATEWAY, "--namespace", str(kube.namespace))


class Rights:
    """Asks the API server what a service account may do."""

    def __init__(self, kubectl: Kubectl, account: str, home: str) -> None:
        self._kubectl = kubectl
        self._user = f"system:serviceaccount:{home}:{account}"

    async def granted(
        self, asked: Sequence[tuple[str, ...]], space: str | None = None
    ) -> list[tuple[str, ...]]:
        """Those that it has, of verb, ``group/plural`` or ``group/plural/subresource``, and perhaps a name."""
        reviews = [self._review(space, *one) for one in asked]
        answers = await self._kubectl("create", "-f", "-", document=reviews)
        return [one for one, answer in zip(asked, answers, strict=True) if answer["status"].get("allowed")]

    async def may(self, verb: str, resource: str, space: str | None = None, name: str = "") -> bool:
        """Whether it has one."""
        return bool(await self.granted([(verb, resource, name)], space))

    def _review(self, space: str | None, verb: str, resource: str, name: str = "") -> dict[str, Any]:
        group, _, rest = resource.partition("/")
        if "." not in group and group not in GROUPS:
            group, rest = "", resource
        plural, _, part = rest.partition("/")
        attributes = {"group": group, "resource": plural, "subresource": part, "verb": verb, "name": name}
        if space is not None:
            attributes["namespace"] = space
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self._user, "resourceAttributes": attributes},
        }


LEASES = "coordination.k8s.io/leases"

GROUPS = ("apps", "batch", "policy")

ALLOWED: list[tuple[str, ...]] = [
    ("watch", "mediagateway.io/mediagateways"),
    ("patch", "mediagateway.io/ingestionjobs/status"),
    ("delete", "mediagateway.io/ingestionjobs"),
    ("create", "apps/deployments"),
    ("patch", "batch/cronjobs"),
    ("delete", "policy/poddisruptionbudgets"),
    ("get", "secrets"),
    ("create", "events"),
    ("list", "pods"),
]
FORBIDDEN: list[tuple[str, ...]] = [
    ("list", "secrets"),
    ("watch", "secrets"),
    ("create", "mediagateway.io/mediagateways"),
    ("patch", "mediagateway.io/mediagateways"),
    ("create", "pods"),
    ("watch", "pods"),
    ("create", "pods/exec"),
    ("create", "rbac.authorization.k8s.io/rolebindings"),
    ("create", "serviceaccounts/token"),
    ("patch", "apps/deployments/scale"),
    ("get", LEASES),
]


@pytest.fixture
def released(helm: Helm, kube: Kubectl) -> Iterator[list[str]]:
    """Names of releases that are taken away afterwards."""
    names: list[str] = []
    yield names
    for name in names:
        helm.run("uninstall", name, "--namespace", str(kube.namespace))


def install(helm: Helm, kube: Kubectl, released: list[str], sets: Sequence[str]) -> str:
    """The operator without pods; gives the name of its service account."""
    name = f"op-{uuid.uuid4().hex[:6]}"
    arguments = [part for one in ("replicaCount=0", "crds.enabled=false", *sets) for part in ("--set", one)]
    released.append(name)
    helm.run("install", name, CHARTS / OPERATOR, "--namespace", str(kube.namespace), *arguments)
    return f"{name}-media-gateway-operator"


async def test_operator_of_the_cluster_may_do_its_work_everywhere_and_no_more(
    helm: Helm, kube: Kubectl, released: list[str]
) -> None:
    rights = Rights(kube, install(helm, kube, released, []), str(kube.namespace))
    await eventually(lambda: rights.may("watch", "mediagateway.io/mediagateways"))
    assert await rights.granted(ALLOWED) == ALLOWED
    assert await rights.granted(FORBIDDEN, "default") == []


async def test_operator_of_namespaces_may_nothing_outside_of_them(
    helm: Helm, kube: Kubectl, released: list[str]
) -> None:
    home, watched = str(kube.namespace), f"{kube.namespace}-watched"
    await kube("create", "-f", "-", document=namespace(watched))
    try:
        account = install(helm, kube, released, [f"watchNamespaces={{{watched}}}"])
        rights = Rights(kube, account, home)
        await eventually(lambda: rights.may("watch", "mediagateway.io/mediagateways", watched))
        assert await rights.granted(ALLOWED, watched) == ALLOWED
        assert await rights.granted([*FORBIDDEN, ("update", LEASES, account)], watched) == []
        for elsewhere in (None, "default", home):
            assert await rights.granted(ALLOWED, elsewhere) == [], elsewhere
        leases = [("update", LEASES, account), ("update", LEASES, "another")]
        assert await rights.granted(leases, home) == leases[:1]
    finally:
        while released:
            helm.run("uninstall", released.pop(), "--namespace", home)
        await kube.text("delete", "namespace", watched, "--wait=false")


@pytest.mark.parametrize("watched", [True, False], ids=["namespaces", "cluster"])
async def test_operator_is_never_refused_what_it_asks_for(
    helm: Helm, own: Cluster, own_stage: Stage, tmp_path: Path, *, watched: bool
) -> None:
    """It runs under the chart's rights, through a user's afternoon."""
    space = own_stage.namespace
    kubectl = Kubectl(own, space)
    sets = ["--set", f"watchNamespaces={{{space}}}"] if watched else []
    helm.run("install", OPERATOR, CHARTS / OPERATOR, "--namespace", space,
             "--set", "replicaCount=0", "--set", "crds.enabled=false", *sets)  # fmt: skip
    try:
        token = (await kubectl.text("create", "token", OPERATOR, "--duration=20m")).strip()
        own_stage.settings = {**own_stage.settings, **({} if watched else {"watch_namespaces": ""})}
        async with (
            FaultProxy(Upstream.of(_with_token(own.kubeconfig, tmp_path / "account", token))) as proxy,
            own_stage.operator(proxy=proxy),
        ):
            await own_stage.afternoon(timeout_s=60).play()
            await own_stage.settled()
            assert len(proxy.writes()) > 20
            refused = {f"{one.verb} {one.path}" for one in proxy.seen if one.status == 403}
            # Of all namespaces it sees an earlier test's too, where nothing can be made while it goes away.
            assert {one for one in refused if "/namespaces/" not in one or f"/{space}/" in one} == set()
    finally:
        helm.run("uninstall", OPERATOR, "--namespace", space)


def _with_token(kubeconfig: Path, copy: Path, token: str) -> Path:
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    copy.write_text(yaml.safe_dump(document))
    return copy


async def test_second_operator_of_the_cluster_is_refused(
    helm: Helm, kube: Kubectl, released: list[str]
) -> None:
    install(helm, kube, released, [])
    with pytest.raises(HelmError, match=r'ClusterRole "media-gateway-operator".* cannot be imported'):
        helm.run("install", "second", CHARTS / OPERATOR, "--namespace", str(kube.namespace),
                 "--set", "crds.enabled=false", "--set", "rbac.aggregate=false")  # fmt: skip


async def test_test_pod_may_only_run_its_job(helm: Helm, kube: Kubectl, released: list[str]) -> None:
    released.append("media")
    helm.run(
        "install",
        "media",
        CHARTS / GATEWAY,
        "--namespace",
        str(kube.namespace),
        "--set",
        "spec.profile=Development",
    )
    rights = Rights(kube, "media-test", str(kube.namespace))
    await eventually(lambda: rights.may("create", "mediagateway.io/ingestionjobs", kube.namespace))
    others = [
        ("list", "mediagateway.io/ingestionjobs"),
        ("get", "secrets"),
        ("delete", "mediagateway.io/mediagateways"),
    ]
    assert await rights.granted(others, kube.namespace) == []


async def test_stored_version_is_not_taken_away(helm: Helm, kube: Kubectl) -> None:
    """An upgrade to a chart that lacks a version objects are stored in stops before it changes anything."""
    old = await kube("get", "crd", DEFINITION)
    version = old["spec"]["versions"][0]
    patch = {
        "spec": {"versions": [version, {**version, "name": "v1alpha0", "served": False, "storage": False}]}
    }
    await kube.text("patch", "crd", DEFINITION, "--type=merge", "-p", yaml.safe_dump(patch))
    stored = {"status": {"storedVersions": ["v1alpha0", "v1alpha1"]}}
    await kube.text(
        "patch", "crd", DEFINITION, "--subresource=status", "--type=merge", "-p", yaml.safe_dump(stored)
    )
    try:
        with pytest.raises(HelmError, match=f"objects of {DEFINITION} are stored as v1alpha0"):
            helm.run("install", "op", CHARTS / OPERATOR, "--namespace", str(kube.namespace), "--dry-run=server",
                     "--take-ownership")  # fmt: skip
    finally:
        back = {"status": {"storedVersions": ["v1alpha1"]}}
        await kube.text(
            "patch", "crd", DEFINITION, "--subresource=status", "--type=merge", "-p", yaml.safe_dump(back)
        )
        await kube.text(
            "patch",
            "crd",
            DEFINITION,
            "--type=merge",
            "-p",
            yaml.safe_dump({"spec": {"versions": [version]}}),
        )


async def test_definitions_and_resources_outlive_the_release(helm: Helm, kube: Kubectl) -> None:
    space = str(kube.namespace)
    helm.run(
        "install",
        "op",
        CHARTS / OPERATOR,
        "--namespace",
        space,
        "--set",
        "replicaCount=0",
        "--take-ownership",
    )
    try:
        gateway = {
            "apiVersion": "mediagateway.io/v1alpha1",
            "kind": "MediaGateway",
            "metadata": {"name": "kept"},
            "spec": {"profile": "Development"},
        }
        await kube("create", "-f", "-", document=gateway)
    finally:
        said = helm.run("uninstall", "op", "--namespace", space)
    assert "kept due to the resource policy" in said
    assert (await kube("get", "mediagateway/kept"))["spec"]["profile"] == "Development"
    # Without an operator nothing holds on to a resource.
    await kube.text("delete", "mediagateway/kept", "--timeout=20s")


async def test_namespace_goes_away_without_an_operator(helm: Helm, kube: Kubectl, own: Cluster) -> None:
    name = f"{kube.namespace}-gone"
    await kube("create", "-f", "-", document=namespace(name))
    helm.run("install", "media", CHARTS / GATEWAY, "--namespace", name, "--set", "spec.profile=Development",
             "--set", "demo.enabled=true")  # fmt: skip
    await Kubectl(own).text("delete", "namespace", name, "--timeout=60s", timeout_s=90)
