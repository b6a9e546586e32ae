"""The programs of the cluster, built once per machine from Go modules into the cache folder."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.machine.commands import run, say
from tests.cluster.machine.packages import require

SOURCES = Path(__file__).parent

NAMES = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "network-policies",
)

HELM = "v3.19.2"

TOOLCHAIN = "1.24.9"
"""The Go that is fetched as a module where the installed one is older than the modules ask for."""

GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")


@dataclass(frozen=True, slots=True)
class Programs:
    """Folders of what was built."""

    folder: Path
    helm: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    @property
    def path(self) -> str:
        """A search path with kubectl and helm in front."""
        return f"{self.folder}:{self.helm.parent}:{os.environ.get('PATH', os.defpath)}"


def programs(cache: Path) -> Programs:
    """Build what is not built yet, and say so: minutes on a fresh machine, nothing afterwards."""
    found = Programs(cache / _version(), cache / f"helm-{HELM}" / "helm")
    if not all(path.exists() for path in (found["kubectl"], found["pause"], found.helm)):
        with _alone(cache):
            _build(found)
            _build_helm(found)
    return found


def helm(cache: Path) -> Path:
    """Helm alone, for tests of the charts that need no cluster."""
    found = Programs(cache / _version(), cache / f"helm-{HELM}" / "helm")
    with _alone(cache):
        _build_helm(found)
    return found.helm


def kubernetes_version() -> str:
    """The version of Kubernetes that the module asks for."""
    required = re.search(r"^\s*k8s\.io/kubernetes (v[0-9.]+)$", _module(), re.MULTILINE)
    assert required is not None, "go.mod doesn't require k8s.io/kubernetes"
    return required[1]


def _build(found: Programs) -> None:
    if found["kubectl"].exists() and found["pause"].exists():
        return
    version = kubernetes_version()
    say(f"building Kubernetes {version} from Go modules (about ten minutes, once per machine) …")
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())
    go, environment = _go()
    found.folder.mkdir(parents=True, exist_ok=True)
    binary = found["all"]
    run(go, "build", "-mod=readonly", "-buildvcs=false", "-ldflags", f"-s -w {flags}", "-o", binary, ".",
        timeout_s=3600, cwd=SOURCES, env=environment)  # fmt: skip
    # It runs in an image without anything else, so it may need no C library.
    static = {**environment, "CGO_ENABLED": "0"}
    run(go, "build", "-mod=readonly", "-buildvcs=false", "-ldflags", "-s -w", "-o", found["pause"], "./pause",
        timeout_s=600, cwd=SOURCES, env=static)  # fmt: skip
    for name in NAMES:
        found[name].unlink(missing_ok=True)
        found[name].symlink_to(binary.name)


def _build_helm(found: Programs) -> None:
    if found.helm.exists():
        return
    say(f"building helm {HELM} (about two minutes, once per machine) …")
    go, environment = _go()
    found.helm.parent.mkdir(parents=True, exist_ok=True)
    run(go, "install", "-ldflags", "-s -w", f"helm.sh/helm/v3/cmd/helm@{HELM}",
        timeout_s=3600, cwd="/", env={**environment, "GOBIN": str(found.helm.parent)})  # fmt: skip


def _go() -> tuple[Path, dict[str, str]]:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *GO_FOLDERS))
    installed = shutil.which("go", path=path)
    if installed is None:
        require("go")
        installed = "/usr/bin/go"
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    needed = re.search(r"^go ([0-9.]+)$", _module(), re.MULTILINE)
    assert needed is not None, "go.mod names no Go version"
    said = re.search(r"go([0-9]+(?:\.[0-9]+)+)", run(installed, "version", env=environment, cwd="/"))
    if said and _numbers(said[1]) >= _numbers(needed[1]):
        return Path(installed), environment
    return _toolchain(installed, environment), environment


def _toolchain(installed: str, environment: dict[str, str]) -> Path:
    # Go publishes itself as a module, checked like any other; an old Go fetches it but doesn't know what to do with it.
    say(f"fetching Go {TOOLCHAIN}: the installed one is too old …")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    module = f"golang.org/toolchain@v0.0.1-go{TOOLCHAIN}.linux-{machine}"
    run(installed, "mod", "download", module, timeout_s=900, cwd="/", env=environment)
    root = Path(run(installed, "env", "GOMODCACHE", env=environment, cwd="/").strip()) / module
    for program in [*(root / "bin").iterdir(), *(root / "pkg" / "tool").rglob("*")]:
        if program.is_file():
            program.chmod(0o755)
    return root / "bin" / "go"


def _version() -> str:
    digest = hashlib.sha256()
    for file in (SOURCES / "go.mod", SOURCES / "go.sum", *sorted(SOURCES.rglob("*.go"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _module() -> str:
    return (SOURCES / "go.mod").read_text(encoding="utf-8")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Two clones that start together don't build twice."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
