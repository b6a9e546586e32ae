"""Helm, as the chart tests run it, and what its templates make."""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"

OPERATOR = "media-gateway-operator"
GATEWAY = "media-gateway"

KUBE_VERSION = "1.34.2"
"""A helm built from its module takes itself for one of Kubernetes 1.20 when it has no cluster to ask."""

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is what it said."""


def find_helm() -> Path | None:
    """The program: named by MEDIA_GATEWAY_TEST_HELM, on the path, or built for the test cluster."""
    given = os.environ.get("MEDIA_GATEWAY_TEST_HELM")
    found = given or shutil.which("helm")
    if found:
        return Path(found)
    cache = os.environ.get("MEDIA_GATEWAY_CLUSTER_CACHE")
    root = Path(cache) if cache else _cache() / "media-gateway/cluster"
    return next(
        (path for path in sorted(root.rglob("helm")) if os.access(path, os.X_OK) and path.is_file()), None
    )


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path.home() / ".cache"


def ci_values(chart: str) -> list[Path]:
    """Values files that every test of all templates goes through."""
    return sorted((CHARTS / chart / "ci").glob("*-values.yaml"))


@dataclass(frozen=True, slots=True)
class Helm:
    """Runs the program.

    Attributes
    ----------
    program : Path
        Where it is.
    environment : dict[str, str] | None
        With the KUBECONFIG of a cluster, where one is needed.
    """

    program: Path
    environment: dict[str, str] | None = field(default=None, hash=False)

    def run(self, *arguments: str | Path, timeout_s: float = 60.0) -> str:
        """Run a command; raises `HelmError` with its words if it fails."""
        done = subprocess.run(
            [str(self.program), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment,
        )
        if done.returncode:
            raise HelmError(f"{done.stdout}\n{done.stderr}".strip())
        return done.stdout

    def lint(self, chart: str, values: Path) -> str:
        """Lint a chart with some values; warnings are failures."""
        return self.run(
            "lint", "--strict", "--kube-version", KUBE_VERSION, CHARTS / chart, "--values", values
        )

    def render(
        self,
        chart: str,
        *,
        values: Path | None = None,
        sets: Sequence[str] = (),
        release: str = "release",
        namespace: str = "space",
    ) -> list[Manifest]:
        """What the templates make, as manifests."""
        arguments: list[str | Path] = ["template", release, CHARTS / chart, "--namespace", namespace]
        arguments += ["--kube-version", KUBE_VERSION]
        if values:
            arguments += ["--values", values]
        for one in sets:
            arguments += ["--set", one]
        return _parsed(self.program, tuple(arguments))


@functools.cache
def _parsed(program: Path, arguments: tuple[str | Path, ...]) -> list[Manifest]:
    # Many tests look at the same few renderings, and the definitions are long: parsed once, in C, and not to be changed.
    text = Helm(program).run(*arguments)
    return [manifest for manifest in yaml.load_all(text, Loader=yaml.CSafeLoader) if manifest]


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """The manifests of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only manifest of a kind, or that of a name."""
    (found,) = [m for m in of_kind(manifests, kind) if name is None or m["metadata"]["name"] == name]
    return found


def named(manifest: Manifest) -> str:
    """Kind, namespace and name, to be compared."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{manifest['kind']} {namespace + '/' if namespace else ''}{metadata['name']}"


def main() -> None:
    """Print the path of the program; it is built if there is none, which needs Go."""
    from tests.cluster.machine.places import cache_folder
    from tests.cluster.machine.programs import helm

    with contextlib.redirect_stdout(sys.stderr):
        found = find_helm() or helm(cache_folder())
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
