"""The control group every process of the cluster lives in, pods included: what ends them all for certain."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.cluster.machine.commands import ClusterError

ROOT = Path("/sys/fs/cgroup")


def create(name: str) -> Path:
    """Create the group in every hierarchy; the kubelet puts its pods below.

    Returns
    -------
    The file that a process writes its id to in order to join.
    """
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir(exist_ok=True)
    if _unified():
        # Processes may not live in a group that hands controllers to groups below it.
        _delegate(ROOT)
        _delegate(ROOT / name)
        (ROOT / name / "control-plane").mkdir(exist_ok=True)
        return ROOT / name / "control-plane" / "cgroup.procs"
    return ROOT / "pids" / name / "cgroup.procs"


def members(name: str) -> set[int]:
    """Ids of every process in the group or below."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name):
            with suppress(OSError):  # the group may be removed while it is read
                found |= {int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()}
    return found - {0}


def end(name: str, timeout_s: float = 30.0) -> None:
    """Kill every member, until none is left that could have started another."""
    deadline = time.monotonic() + timeout_s
    while alive := _kill(name):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {sorted(alive)} of the cluster don't end")
        time.sleep(0.05)


def remove(name: str, timeout_s: float = 10.0) -> None:
    """Remove the emptied group from every hierarchy.

    Whoever was about to join when the group was emptied is killed here, or finds no group and never starts.
    """
    deadline = time.monotonic() + timeout_s
    for hierarchy in _hierarchies():
        while (hierarchy / name).exists():
            _kill(name)
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                with suppress(OSError):  # busy until the kernel has taken the last process away
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise ClusterError(f"control group {hierarchy / name} can't be removed")
            time.sleep(0.02)


def _kill(name: str) -> list[int]:
    """Send every living member SIGKILL, and give their ids."""
    alive = [pid for pid in members(name) if not _is_zombie(pid)]
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return alive


def _unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    if _unified():
        return [ROOT]
    # Two controllers mounted together have a link for each name.
    return sorted({entry.resolve() for entry in ROOT.iterdir() if (entry / "cgroup.procs").exists()})


def _delegate(group: Path) -> None:
    offered = (group / "cgroup.controllers").read_text().split()
    for controller in offered:
        with suppress(OSError):  # some can't be handed down, and the kubelet says which it misses
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
