"""A second cluster on this machine, and what is left of it after it was taken down: nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cluster.access import Cluster
from tests.cluster.machine import cgroups, processes
from tests.cluster.machine.cluster import status, up
from tests.cluster.machine.commands import ClusterError, run
from tests.cluster.machine.control_plane import CONTEXT
from tests.cluster.machine.images import ctr
from tests.cluster.machine.network import Network, taken_by
from tests.cluster.machine.node import PAUSE
from tests.cluster.machine.places import REPOSITORY, Places, cache_folder
from tests.cluster.machine.programs import programs
from tests.cluster.machine.teardown import SHARED, SYSCTLS, down, mounts_below

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="only root has clusters on a machine")]

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


@pytest.fixture
def kubectl(places: Places) -> Callable[..., str]:
    program = programs(cache_folder())["kubectl"]
    return lambda *arguments, **options: run(program, "--kubeconfig", places.kubeconfig, *arguments, **options)


def traces() -> set[str]:
    """Whatever on this machine could be left by a cluster: links, routes, namespaces, groups, files."""
    found = {f"link {line.split(':')[1]}" for line in run("ip", "-o", "link").splitlines()}
    found |= {f"route {line}" for line in run("ip", "route").splitlines()}
    found |= {f"namespace {line}" for line in run("ip", "netns").splitlines()}
    for folder in (Path("/run/netns"), *SHARED):
        if folder.exists():
            found |= {f"file {entry}" for entry in (folder, *folder.rglob("*"))}
    for group in cgroups.ROOT.glob("*/mgwc*"):
        found.add(f"group {group}")
    return found | {f"sysctl {name} = {run('sysctl', '-n', name).strip()}" for name in SYSCTLS}


def processes_of(folder: Path) -> list[str]:
    """Command lines of the live processes that name a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def nothing_is_left(places: Places, before: set[str]) -> bool:
    assert not processes_of(places.work)
    assert not mounts_below(places.work)
    assert traces() - before == set()
    assert {entry.name for entry in places.work.iterdir()} <= {"lock", "log"}
    return True


def test_cluster_with_pods_leaves_nothing(cluster: Cluster, places: Places, kubectl: Callable[..., str]) -> None:
    """Beside the run's own cluster, which must not notice."""
    before = traces()
    up(places, cache_folder())
    kubectl("create", "-f", "-", input=POD)
    kubectl("wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    assert mounts_below(places.work)
    assert down(places)
    assert nothing_is_left(places, before)
    environment = cluster.environment
    assert "Ready" in run(cluster.kubectl, "get", "nodes", env=environment) or not cluster.can("node")


def test_killed_containerd_takes_no_pod_into_safety(places: Places, kubectl: Callable[..., str]) -> None:
    before = traces()
    up(places, cache_folder())
    kubectl("create", "-f", "-", input=POD)
    kubectl("wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    for name in ("kubelet", "containerd"):
        processes.stop(processes.recorded(places, name))
    assert "containerd-shim" in " ".join(processes_of(places.work))
    assert not status(places).running
    down(places)
    assert nothing_is_left(places, before)


def test_half_dead_cluster_is_replaced(places: Places, kubectl: Callable[..., str]) -> None:
    up(places, cache_folder(), with_node=False)
    processes.stop(processes.recorded(places, "etcd"))
    assert not status(places).running
    up(places, cache_folder(), with_node=False)
    assert status(places).running
    assert "kube-system" in kubectl("get", "namespaces")


def test_second_start_changes_nothing(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    up(places, cache_folder(), with_node=False)
    pids = {name: processes.recorded(places, name).pid for name in processes.names(places)}
    up(places, cache_folder(), with_node=False)
    assert pids == {name: processes.recorded(places, name).pid for name in processes.names(places)}
    assert "is up already" in capsys.readouterr().out
    assert set(pids) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}


def test_restarted_server_keeps_its_address_and_objects(places: Places, kubectl: Callable[..., str]) -> None:
    up(places, cache_folder(), with_node=False)
    kubectl("create", "namespace", "kept")
    old = processes.recorded(places, "kube-apiserver").pid
    assert processes.restart(places, "kube-apiserver").pid != old

    kubectl("wait", "--for=jsonpath={.status.phase}=Active", "namespace/kept", "--timeout=60s")


def test_interrupted_start_leaves_nothing(places: Places) -> None:
    before = traces()
    command = [sys.executable, "-m", "tests.cluster.machine", "up"]
    environment = {**os.environ, "MEDIA_GATEWAY_CLUSTER_DIR": str(places.work)}
    start = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not processes.names(places):
        assert start.poll() is None
    start.send_signal(signal.SIGINT)
    start.communicate(timeout=60)
    assert nothing_is_left(places, before)


def test_killed_start_is_cleaned_by_down_even_without_its_folder(places: Places) -> None:
    before = traces()
    up(places, cache_folder(), with_node=False)
    for entry in (places.processes, places.work / "complete"):
        run("rm", "-rf", entry)
    assert down(places)
    assert nothing_is_left(places, before)


def test_two_clusters_have_two_networks(cluster: Cluster, places: Places) -> None:
    up(places, cache_folder(), with_node=False)
    mine = taken_by(places.work)
    assert mine is not None
    others = [Network(slot) for slot in range(8) if slot != mine.slot]
    assert not any(mine.whole.overlaps(other.whole) for other in others)
    assert CONTEXT in places.kubeconfig.read_text()
    with suppress(ClusterError):
        ctr(places, "version")
        pytest.fail("a control plane alone has no containers")
    assert run(cluster.kubectl, "get", "--raw", "/readyz", env=cluster.environment) == "ok"
