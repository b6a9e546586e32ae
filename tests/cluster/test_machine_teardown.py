"""A second cluster on this machine, and what is left of it after it was taken down: nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Set as AbstractSet
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.access import Cluster
from tests.cluster.machine import cgroups, processes
from tests.cluster.machine.cluster import status, up
from tests.cluster.machine.commands import ClusterError, attempt, run
from tests.cluster.machine.images import load_image
from tests.cluster.machine.network import Network, taken_by
from tests.cluster.machine.node import PAUSE
from tests.cluster.machine.places import REPOSITORY, Places, cache_folder
from tests.cluster.machine.programs import programs
from tests.cluster.machine.teardown import SHARED, _shim_sockets, down, mounts_below

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has clusters on a machine"),
]

POD = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: idle}}
spec:
  containers: [{{name: idle, image: "{PAUSE}", imagePullPolicy: Never}}]
  terminationGracePeriodSeconds: 3600
  volumes: [{{name: scratch, emptyDir: {{medium: Memory}}}}]
"""


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places(tmp_path / "cluster")
    yield places
    down(places)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A control plane that the tests below share, in their order."""
    places = Places(tmp_path_factory.mktemp("second") / "cluster")
    up(places, cache_folder(), with_node=False)
    yield places
    down(places)


def kubectl(places: Places, *arguments: str, **options: Any) -> str:
    return run(programs(cache_folder())["kubectl"], "--kubeconfig", places.kubeconfig, *arguments, **options)


def started_with_a_pod(places: Places) -> None:
    up(places, cache_folder())
    kubectl(places, "create", "-f", "-", input=POD)
    kubectl(places, "wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    assert mounts_below(places.state)
    assert "containerd-shim" in " ".join(processes_of(places))


def marks(places: Places) -> set[str]:
    """What the names of this cluster's traces on the machine contain: other clusters may come and go meanwhile."""
    taken = taken_by(places.work)
    assert taken is not None
    sandboxes = (places.state / "containerd" / "io.containerd.grpc.v1.cri" / "sandboxes").glob("*")
    sockets = _shim_sockets(places)
    found = {taken.name, str(taken.whole), taken.node_address, str(places.state)}
    return found | {sandbox.name for sandbox in sandboxes} | {socket.name for socket in sockets}


def traces(marked: set[str]) -> set[str]:
    """Links, routes, namespaces, control groups and files of a cluster."""
    found = {f"link {line}" for line in run("ip", "-o", "link").splitlines()}
    found |= {f"route {line}" for line in run("ip", "route").splitlines()}
    found |= {f"namespace {line}" for line in run("ip", "netns").splitlines()}
    found |= {f"group {group}" for group in (*cgroups.ROOT.glob("*/mgwc*"), *cgroups.ROOT.glob("mgwc*"))}
    for folder in (Path("/run/netns"), *SHARED):
        for file in folder.rglob("*"):
            found.add(f"file {file} {file.readlink() if file.is_symlink() else ''}")
    return {line for line in found if any(mark in line for mark in marked)}


def processes_of(places: Places) -> list[str]:
    """Command lines of the live processes that name one of a cluster's folders."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        names_it = str(places.work) in line or str(places.state) in line
        if names_it and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def nothing_is_left(places: Places, marked: AbstractSet[str] = frozenset()) -> bool:
    assert not processes_of(places)
    assert not mounts_below(places.state)
    assert traces({*marked, str(places.work), str(places.state)}) == set()
    assert not places.state.exists()
    assert {entry.name for entry in places.work.iterdir()} <= {"lock", "log"}
    return True


def test_cluster_with_pods_leaves_nothing(places: Places) -> None:
    started_with_a_pod(places)
    marked = marks(places)
    assert {line.split()[0] for line in traces(marked)} == {"link", "route", "namespace", "group", "file"}
    assert down(places)
    assert nothing_is_left(places, marked)


@pytest.mark.soak
def test_pods_without_containerd_are_taken_down_too(places: Places) -> None:
    started_with_a_pod(places)
    for name in ("kubelet", "containerd"):
        processes.stop(processes.recorded(places, name))
    assert not status(places).running
    assert "containerd-shim" in " ".join(processes_of(places))
    marked = marks(places)
    down(places)
    assert nothing_is_left(places, marked)


@pytest.mark.soak
def test_records_and_folders_may_be_lost_before_it_is_taken_down(places: Places) -> None:
    up(places, cache_folder(), with_node=False)
    marked = marks(places)
    shutil.rmtree(places.work)
    assert down(places)
    assert nothing_is_left(places, marked)


def test_interrupted_start_leaves_nothing(places: Places) -> None:
    # A shell in the background ignores SIGINT for all that it starts.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "tests.cluster.machine", "up"]
    environment = {**os.environ, "MEDIA_GATEWAY_CLUSTER_DIR": str(places.work)}
    start = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not processes.names(places):
        assert start.poll() is None
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=60)
    assert start.returncode != 0
    assert nothing_is_left(places)


def test_two_clusters_have_two_networks(cluster: Cluster, second: Places) -> None:
    mine = taken_by(second.work)
    assert mine is not None
    others = [Network(slot) for slot in range(8) if slot != mine.slot]
    assert not any(mine.whole.overlaps(other.whole) for other in others)
    assert f"https://{mine.node_address}:" in second.kubeconfig.read_text()
    assert run(cluster.kubectl, "get", "--raw", "/readyz", env=cluster.environment) == "ok"


def test_control_plane_alone_starts_no_containers(second: Places) -> None:
    assert set(processes.names(second)) == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    }
    with pytest.raises(ClusterError, match="no node runs"):
        load_image(second, programs(cache_folder())["pause"])


def test_second_start_changes_nothing(second: Places, capsys: pytest.CaptureFixture[str]) -> None:
    pids = {name: processes.recorded(second, name).pid for name in processes.names(second)}
    up(second, cache_folder(), with_node=False)
    assert pids == {name: processes.recorded(second, name).pid for name in processes.names(second)}
    assert "is up already" in capsys.readouterr().out


def until_it_answers(places: Places) -> None:
    """Wait for the API server, which ends itself when a busy machine lets its first steps take too long."""
    deadline = time.monotonic() + 120
    while not attempt(*read(places)):
        assert time.monotonic() < deadline
        if not processes.is_alive(processes.recorded(places, "kube-apiserver")):
            processes.restart(places, "kube-apiserver")
        time.sleep(0.5)


def test_restarted_server_keeps_its_address_and_objects(second: Places) -> None:
    until_it_answers(second)
    if not attempt(*get_kept(second)):
        kubectl(second, "create", "namespace", "kept")
    old = processes.recorded(second, "kube-apiserver").pid
    assert processes.restart(second, "kube-apiserver").pid != old
    until_it_answers(second)
    assert kubectl(second, "get", "namespace", "kept", "--output=name") == "namespace/kept\n"


def get_kept(places: Places) -> list[str | Path]:
    return [*read(places)[:3], "get", "namespace", "kept"]


def read(places: Places) -> list[str | Path]:
    return [programs(cache_folder())["kubectl"], "--kubeconfig", places.kubeconfig, "get", "--raw", "/readyz"]


def test_half_dead_cluster_is_replaced(second: Places) -> None:
    processes.stop(processes.recorded(second, "etcd"))
    assert not status(second).running
    up(second, cache_folder(), with_node=False)
    assert status(second).running
    assert "kept" not in kubectl(second, "get", "namespaces")
