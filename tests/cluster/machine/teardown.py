"""Takes a cluster down, whole or half started, and leaves nothing behind but its logs."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from tests.cluster.machine import cgroups, network, processes
from tests.cluster.machine.commands import attempt, run
from tests.cluster.machine.places import STATE, Places

SYSCTLS = ("kernel.panic", "kernel.panic_on_oops", "vm.overcommit_memory", "kernel.keys.root_maxkeys",
           "kernel.keys.root_maxbytes")  # fmt: skip
"""What the kubelet changes on the whole machine."""

POD_LOG_LINKS = Path("/var/log/containers")
"""Where the kubelet links its logs to, whatever it is told."""

CNI_CACHE = Path("/var/lib/cni/results")
"""Where the CNI library keeps its results, whatever it is told."""

SHARED = (POD_LOG_LINKS, CNI_CACHE, CNI_CACHE.parent, Path("/run/containerd/s"), Path("/run/containerd"),
          Path("/var/lib/kubelet/device-plugins"), Path("/var/lib/kubelet"))  # fmt: skip
"""Folders that are made outside of the work folder, and removed when nobody else uses them."""

KEPT = ("images", "lock", "log", "report.json", "users.lock")
"""What is read, or used again, after the cluster."""


def down(places: Places) -> bool:
    """Take the cluster of a work folder down.

    Returns
    -------
    Whether there was one.
    """
    with places.alone():
        return clear(places)


def clear(places: Places) -> bool:
    """The same for a caller that works alone in the folder already."""
    taken = network.taken_by(places.work)
    was_there = taken is not None or places.state.exists()
    for name in processes.names(places):
        # An interrupted start's may not have joined the group yet.
        processes.stop(processes.recorded(places, name))
    if taken is not None:
        # Containers outlive whatever started them, so everything is ended through the group they all share.
        cgroups.end(taken.name)
    unmount(places.state)
    _restore_sysctls(places)
    _remove_traces(places)
    if taken is not None:
        cgroups.remove(taken.name)
    _remove_files(places)
    if taken is not None:
        network.release(taken)  # last: until here a new start would find what is left
    return was_there


def mounts_below(folder: Path) -> list[str]:
    """Mount points below a folder, the innermost first."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in _mount_table()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def unmount(folder: Path) -> None:
    """Unmount everything below a folder."""
    for point in mounts_below(folder):
        if not attempt("umount", point):
            run("umount", "--lazy", point)


def remember_sysctls(places: Places) -> None:
    """Write down what the kubelet is going to change."""
    values = {name: file.read_text().strip() for name in SYSCTLS if (file := _sysctl(name)).exists()}
    (places.state / "sysctls.json").write_text(json.dumps(values))


def _restore_sysctls(places: Places) -> None:
    with suppress(FileNotFoundError):
        for name, value in json.loads((places.state / "sysctls.json").read_text()).items():
            if _sysctl(name).read_text().strip() != value:
                _sysctl(name).write_text(value)


def _sysctl(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


def _mount_table() -> list[str]:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()


def _shim_sockets(places: Places) -> list[Path]:
    # Shims listen outside of containerd's folders, and a killed one leaves its socket.
    tasks = places.state / "containerd-run" / "io.containerd.runtime.v2.task"
    found = []
    for file in tasks.glob("*/*/address"):
        with suppress(OSError):
            found.append(Path(file.read_text().strip().removeprefix("unix://")))
    return found


def _remove_traces(places: Places) -> None:
    for socket in _shim_sockets(places):
        socket.unlink(missing_ok=True)
    if POD_LOG_LINKS.is_dir():
        for link in POD_LOG_LINKS.iterdir():
            if link.is_symlink() and link.readlink().is_relative_to(places.state):
                link.unlink()
    for sandbox in (places.state / "containerd" / "io.containerd.grpc.v1.cri" / "sandboxes").glob("*"):
        for result in CNI_CACHE.glob(f"*-{sandbox.name}-*"):
            result.unlink()
    for folder in SHARED:
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()


def _remove_files(places: Places) -> None:
    shutil.rmtree(places.state, ignore_errors=not places.state.exists())
    with suppress(OSError):  # another cluster's, or not there
        STATE.rmdir()
    if not places.work.exists():
        return
    for entry in places.work.iterdir():
        if entry.name not in KEPT:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
