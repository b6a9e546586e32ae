"""Where a cluster for the tests comes from: one that is given, kind, or this machine."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.cluster.access import Ability, Cluster
from tests.cluster.machine.commands import ClusterError, attempt, run, say
from tests.cluster.machine.places import Places, cache_folder, work_folder

ALLOWED = "MEDIA_GATEWAY_TEST_CONTEXTS"
CHOSEN = "MEDIA_GATEWAY_TEST_PROVIDER"
KIND_NAME = "media-gateway"
KIND_CONTEXT = f"kind-{KIND_NAME}"
MACHINE_CONTEXT = "media-gateway-machine"
REGISTRY = "media-gateway-registry"
REGISTRY_PORT = 5001


class Provider(Protocol):
    """A source of clusters."""

    @property
    def name(self) -> str:
        """As in reports."""

    def why_not(self) -> str | None:
        """Why it can't provide one here; None if it can."""

    def is_up(self) -> bool:
        """Whether its cluster runs already, and so isn't the run's to take down."""

    def start(self) -> Cluster:
        """Its cluster, started if need be."""

    def stop(self) -> None:
        """Take it down."""


def chosen() -> Provider:
    """The provider for this run.

    Raises
    ------
    ClusterError
        If there is none, with each one's reason; or if the given cluster may not be used for tests.
    """
    providers: list[Provider] = [Given(), Kind(), Machine()]
    wanted = os.environ.get(CHOSEN)
    if wanted:
        providers = [each for each in providers if each.name == wanted]
        if not providers:
            raise ClusterError(f"{CHOSEN}={wanted}: choose kubeconfig, kind or machine")
    reasons = {each.name: each.why_not() for each in providers}
    for each in providers:
        if reasons[each.name] is None:
            return each
    raise ClusterError(
        "no cluster to test on:\n" + "\n".join(f"  {name}: {why}" for name, why in reasons.items())
    )


@dataclass(frozen=True, slots=True)
class Given:
    """The cluster that KUBECONFIG names, if its context is one for tests."""

    name: str = "kubeconfig"

    def why_not(self) -> str | None:
        """None even for a forbidden context: that is an error, not a reason to take another cluster."""
        return None if os.environ.get("KUBECONFIG") else "KUBECONFIG is not set"

    def is_up(self) -> bool:
        return True

    def start(self) -> Cluster:
        file = Path(os.environ["KUBECONFIG"])
        if not file.is_file():
            raise ClusterError(f"KUBECONFIG={file} is no file (the tests take one file, not a list)")
        context = str((yaml.safe_load(file.read_text()) or {}).get("current-context"))
        allowed = [
            each.strip() for each in os.environ.get(ALLOWED, f"{KIND_CONTEXT},{MACHINE_CONTEXT}").split(",")
        ]
        if context not in allowed:
            raise ClusterError(
                f"KUBECONFIG's context {context!r} is not for tests, which create and delete at will (for tests are: "
                f"{', '.join(allowed)}). Unset KUBECONFIG, or add the context to {ALLOWED}"
            )
        return _attached(self.name, file.absolute(), context)

    def stop(self) -> None:
        """It is somebody else's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A node in a container."""

    name: str = "kind"

    def why_not(self) -> str | None:
        if shutil.which("kind") is None:
            return "kind is not installed"
        return None if shutil.which("docker") and attempt("docker", "info") else "Docker doesn't answer"

    def is_up(self) -> bool:
        return KIND_NAME in run("kind", "get", "clusters").split()

    def start(self) -> Cluster:
        file = work_folder() / "kind.kubeconfig"
        file.parent.mkdir(parents=True, exist_ok=True)
        if self.is_up():
            run("kind", "export", "kubeconfig", "--name", KIND_NAME, "--kubeconfig", file)
        else:
            say("creating a kind cluster (about a minute) …")
            configuration = Path(__file__).parent / "kind" / "cluster.yaml"
            run("kind", "create", "cluster", "--name", KIND_NAME, "--config", configuration, "--kubeconfig", file,
                "--wait", "120s", timeout_s=600)  # fmt: skip
        _registry()
        return _kind_cluster(self.name, file)

    def stop(self) -> None:
        run(
            "kind",
            "delete",
            "cluster",
            "--name",
            KIND_NAME,
            "--kubeconfig",
            work_folder() / "kind.kubeconfig",
        )
        attempt("docker", "rm", "--force", REGISTRY)


@dataclass(frozen=True, slots=True)
class Machine:
    """A node on this machine itself."""

    name: str = "machine"

    def why_not(self) -> str | None:
        if os.uname().sysname != "Linux":
            return "only on Linux"
        return None if os.geteuid() == 0 else "needs root"

    def is_up(self) -> bool:
        from tests.cluster.machine.cluster import status

        found = status(Places(work_folder()))
        return found.running and found.has_node

    def start(self) -> Cluster:
        from tests.cluster.machine.cluster import up

        places = Places(work_folder())
        up(places, cache_folder())
        return _machine_cluster(self.name, places)

    def stop(self) -> None:
        from tests.cluster.machine.teardown import down

        down(Places(work_folder()))


def to_text(cluster: Cluster) -> str:
    """A cluster as text, for the workers of a distributed run."""
    return json.dumps([cluster.provider, str(cluster.kubeconfig), cluster.context])


def from_text(text: str) -> Cluster:
    """The cluster that `to_text` wrote down."""
    provider, file, context = json.loads(text)
    return _attached(provider, Path(file), context)


def _attached(provider: str, file: Path, context: str) -> Cluster:
    if context == KIND_CONTEXT:
        return _kind_cluster(provider, file)
    places = Places(file.parent)
    if context == MACHINE_CONTEXT and places.processes.exists():
        return _machine_cluster(provider, places)
    return Cluster(provider, file, context, frozenset({Ability.NODE}), *_tools(), _refuse)


def _machine_cluster(provider: str, places: Places) -> Cluster:
    from tests.cluster.machine.images import load_image, tag_image
    from tests.cluster.machine.processes import names
    from tests.cluster.machine.programs import programs

    built = programs(cache_folder())
    abilities = {Ability.CONTROL, Ability.REACHABLE}
    if places.containerd_socket.exists():
        abilities |= {Ability.NODE, Ability.IMAGES}
    if "network-policies" in names(places):
        abilities.add(Ability.NETWORK_POLICY)
    return Cluster(provider, places.kubeconfig, MACHINE_CONTEXT, frozenset(abilities), built["kubectl"], built.helm,
                   lambda archive: load_image(places, archive),
                   lambda image, name: tag_image(places, image, name))  # fmt: skip


def _kind_cluster(provider: str, file: Path) -> Cluster:
    def load(archive: Path) -> None:
        run("kind", "load", "image-archive", archive, "--name", KIND_NAME, timeout_s=600)

    def tag(image: str, name: str) -> None:
        for node in run("kind", "get", "nodes", "--name", KIND_NAME).split():
            run(
                "docker",
                "exec",
                node,
                "ctr",
                "--namespace",
                "k8s.io",
                "images",
                "tag",
                "--force",
                image,
                name,
            )

    abilities = {Ability.NODE, Ability.IMAGES, Ability.NETWORK_POLICY}
    return Cluster(provider, file, KIND_CONTEXT, frozenset(abilities), *_tools(), load, tag)


def _refuse(archive: Path) -> None:
    raise ClusterError(f"{archive} can't be loaded into a cluster that was given")


def _tools() -> tuple[Path, Path]:
    found = shutil.which("kubectl"), shutil.which("helm")
    if found[0] and found[1]:
        return Path(found[0]), Path(found[1])
    from tests.cluster.machine.programs import programs

    built = programs(cache_folder())
    return built["kubectl"], built.helm


def _registry() -> None:
    """The registry that the node pulls `localhost:5001/…` from, for builds that push."""
    if not attempt("docker", "inspect", REGISTRY):
        run("docker", "run", "--detach", "--name", REGISTRY, "--publish", f"127.0.0.1:{REGISTRY_PORT}:5000",
            "registry:2", timeout_s=300)  # fmt: skip
    networks: dict[str, Any] = json.loads(run("docker", "inspect", REGISTRY))[0]["NetworkSettings"][
        "Networks"
    ]
    if "kind" not in networks:
        run("docker", "network", "connect", "kind", REGISTRY)
    folder = f"/etc/containerd/certs.d/localhost:{REGISTRY_PORT}"
    for node in run("kind", "get", "nodes", "--name", KIND_NAME).split():
        run("docker", "exec", node, "mkdir", "-p", folder)
        run("docker", "exec", "-i", node, "cp", "/dev/stdin", f"{folder}/hosts.toml",
            input=f'[host."http://{REGISTRY}:5000"]\n')  # fmt: skip
