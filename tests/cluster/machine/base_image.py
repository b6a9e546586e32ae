"""The Debian base of the images, built here so that no registry is needed.

Called by ``python -m tests.cluster.machine base-image``; the image itself lies in buildah's storage of this machine.
"""

import hashlib
import os
import shutil
from pathlib import Path

from tests.cluster.machine.commands import ClusterError, attempt, run, say
from tests.cluster.machine.packages import require

NAME = "localhost/media-gateway-base:bookworm"

SUITE = "bookworm"

PACKAGES = ("ca-certificates", "python3-minimal", "python3-venv")

LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
"""What a container never reads; copyright files stay."""

LABEL = "io.mediagateway.base-recipe"


def base_image(cache: Path) -> str:
    """Build the base image unless it is there already.

    Parameters
    ----------
    cache
        Folder that keeps the file system archive between builds.

    Returns
    -------
    The image's name in buildah's storage.
    """
    recipe = _recipe()
    if attempt("buildah", "inspect", "--type", "image", NAME) and _label() == recipe:
        return NAME
    require("buildah", "mmdebstrap")
    archive = cache / f"base-{SUITE}-{recipe}.tar"
    if not archive.exists():
        say(f"building the base image of {SUITE} (about a minute) …")
        _bootstrap(archive)
    _import(archive, recipe)
    return NAME


def _recipe() -> str:
    return hashlib.sha256(" ".join((SUITE, *PACKAGES, *LEFT_OUT)).encode()).hexdigest()[:12]


def _label() -> str:
    form = '{{index .OCIv1.Config.Labels "' + LABEL + '"}}'
    return run("buildah", "inspect", "--type", "image", "--format", form, NAME).strip()


def _bootstrap(archive: Path) -> None:
    if os.geteuid() != 0:
        raise ClusterError("building the base image needs root: run this again with sudo")
    archive.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that an interrupted build is never taken for a finished one. The process id keeps
    # two clones apart that build at the same time.
    part = archive.with_suffix(f".{os.getpid()}.tar")
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    try:
        run(
            "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", *options, SUITE, part,
            timeout_s=900,
        )  # fmt: skip
        shutil.move(part, archive)
    finally:
        part.unlink(missing_ok=True)


def _import(archive: Path, recipe: str) -> None:
    container = run("buildah", "from", "--pull-never", "scratch").strip()
    try:
        run("buildah", "add", "--quiet", container, archive, "/", timeout_s=600)
        run("buildah", "config", "--label", f"{LABEL}={recipe}", "--cmd", "python3", "--env",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)  # fmt: skip
        run("buildah", "commit", "--quiet", container, NAME, timeout_s=600)
    finally:
        run("buildah", "rm", container)
