"""Where the cluster keeps things on this machine."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]

CACHE = "MEDIA_GATEWAY_CLUSTER_CACHE"
WORK = "MEDIA_GATEWAY_CLUSTER_DIR"

STATE = Path("/var/lib/media-gateway-clusters")


def cache_folder() -> Path:
    """Folder of what is built once per machine: programs and the base image's archive."""
    given = os.environ.get(CACHE)
    root = os.environ.get("XDG_CACHE_HOME")
    return (
        Path(given) if given else (Path(root) if root else Path.home() / ".cache") / "media-gateway/cluster"
    )


def work_folder() -> Path:
    """Folder of this clone's cluster."""
    return Path(os.environ.get(WORK) or REPOSITORY / ".cluster").absolute()


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one cluster."""

    work: Path
    """Its settings and logs; two clusters never share it."""

    @property
    def kubeconfig(self) -> Path:
        """Access for people and tests, with its certificates inside, so that it can be copied."""
        return self.work / "kubeconfig"

    @property
    def log(self) -> Path:
        """A file per process; survives the cluster, because that's when it is read."""
        return self.work / "log"

    @property
    def processes(self) -> Path:
        """A record per process."""
        return self.work / "processes"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.work / "pki"

    @property
    def etc(self) -> Path:
        """Configuration of the programs."""
        return self.work / "etc"

    @property
    def state(self) -> Path:
        """What the programs write: etcd's data, containers, pods, volumes.

        Not below the work folder, because sockets lie here whose paths may have 107 characters.
        """
        return STATE / hashlib.sha256(str(self.work).encode()).hexdigest()[:8]

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers."""
        return self.state / "containerd.sock"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that starts or takes down this cluster."""
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.log, self.processes, self.pki, self.etc, self.state):
            folder.mkdir(parents=True, exist_ok=True)
