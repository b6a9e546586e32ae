"""The project's container images for the cluster tests; the one place that calls scripts/images."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.machine.commands import ClusterError
from tests.cluster.machine.places import REPOSITORY, work_folder

SCRIPT = REPOSITORY / "scripts" / "images"


def build(names: Sequence[str] = (), *, on_debian: bool = True) -> list[Path]:
    """Build images, and give their archives.

    Parameters
    ----------
    names
        Targets of the Dockerfile; every one if none is named.
    on_debian
        On the base that is built on this machine; else on the Dockerfile's own, which comes from a registry.
    """
    from tests.cluster.machine.base_image import base_image
    from tests.cluster.machine.places import cache_folder

    folder = work_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    what = list(names) or ["--all"]
    base = ["--base", base_image(cache_folder())] if on_debian else []
    command = [str(SCRIPT), "build", *what, *base, "--archive-dir", str(folder)]
    # What it prints is for the person who waits for it.
    if subprocess.run(command, check=False, cwd=REPOSITORY).returncode:
        raise ClusterError("the images could not be built; what was said above tells why")
    return sorted(folder.glob("*.tar"))


def main(names: Sequence[str]) -> int:
    """Build and print the archives."""
    try:
        sys.stdout.writelines(f"{archive}\n" for archive in build(names))
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
