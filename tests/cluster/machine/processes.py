"""The cluster's own processes: started apart from the caller, recorded, found again by a later call."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.machine.commands import ClusterError, environment
from tests.cluster.machine.places import Places

JOIN = 'echo $$ >"$0" && exec "$@"'
"""Joins the control group before the program starts, so that no child of it is ever outside."""


_kept: list[subprocess.Popen[bytes]] = []
"""Whatever this process has started: Python drops a Ctrl-C that falls into the destructor of such an object."""


@dataclass(frozen=True, slots=True)
class Record:
    """A process that was started, with what it takes to start it again."""

    name: str
    pid: int
    born: int
    """Clock ticks after boot: tells the process from a later one with the same id."""
    group: str
    """The file that put it into its control group."""
    command: list[str]


def start(places: Places, name: str, command: Sequence[str], group: Path) -> Record:
    """Start a process that outlives the caller; what it prints goes to its log file."""
    with (places.log / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", JOIN, str(group), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=places.work,
            env=environment(),
        )
    _kept.append(process)
    born = _born(process.pid)
    if born is None:
        raise ClusterError(f"{name} ended at once; see {places.log / name}.log")
    record = Record(name, process.pid, born, str(group), list(command))
    _file(places, name).write_text(json.dumps(asdict(record)))
    return record


def restart(places: Places, name: str) -> Record:
    """Kill a process and start it again with the same arguments."""
    record = recorded(places, name)
    stop(record)
    return start(places, name, record.command, Path(record.group))


def recorded(places: Places, name: str) -> Record:
    """What was started under a name.

    Raises
    ------
    ClusterError
        If nothing was.
    """
    try:
        return Record(**json.loads(_file(places, name).read_text()))
    except FileNotFoundError:
        raise ClusterError(f"no process {name!r} was started; there are {', '.join(names(places))}") from None


def names(places: Places) -> list[str]:
    """Every process that was started."""
    return sorted(file.stem for file in places.processes.glob("*.json"))


def is_alive(record: Record) -> bool:
    """Whether it runs still."""
    with suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # a zombie of the caller's own would look alive
    return _born(record.pid) == record.born


def stop(record: Record, number: signal.Signals = signal.SIGKILL, timeout_s: float = 10.0) -> None:
    """End a process, and wait until it has ended; SIGKILL when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while is_alive(record):
        late = time.monotonic() > deadline
        with suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGKILL if late else number)
        time.sleep(0.02)


def _file(places: Places, name: str) -> Path:
    return places.processes / f"{name}.json"


def _born(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
