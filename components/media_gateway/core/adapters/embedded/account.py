"""Which account the private servers run under, and how they reach the installed binaries from it.

Postgres refuses to run as root. When we are root, an unprivileged account is used that owns only the servers' own
folders; no permission of a folder that is not ours is ever changed.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from media_gateway.core.errors import NotConfiguredError

ACCOUNTS = ("media-gateway", "postgres", "nobody")
"""Tried in this order. The servers need an entry in the user database: `initdb` asks for its own name."""

SHARED_FOLDER = Path("/var/lib/media-gateway")
"""Where root puts a readable copy of the binaries if they are installed in a folder that the account can't enter."""


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user."""

    name: str
    uid: int
    gid: int


def server_account(folder: Path | None = None) -> Account | None:
    """The account to give the servers to; None when we are an ordinary user, who runs them himself.

    Parameters
    ----------
    folder
        A server's own folder: whoever owns it already, if not root, stays its account.

    Raises
    ------
    NotConfiguredError
        We are root on a machine without any unprivileged account.
    """
    if os.geteuid() != 0:
        return None
    if folder is not None and folder.exists() and (owner := folder.stat()).st_uid != 0:
        return Account(f"uid {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise NotConfiguredError(
        "Postgres does not run as root, and there is none of the users "
        f"{', '.join(ACCOUNTS)} to run it; start as an ordinary user, or: useradd --system media-gateway"
    )


def package_folder(package: str) -> Path | None:
    """Where a package is installed, without importing it; None if it is not."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def reachable(path: Path, account: Account | None) -> Path:
    """The path of an installed file or folder as the account can use it.

    Returns
    -------
    Path
        ``path`` itself, or its place in a copy below `SHARED_FOLDER` (made once; hard links where possible) when a
        folder above it is closed to the account.
    """
    if account is None or _can_enter(path, account):
        return path
    # site-packages/<package>/... : the libraries a wheel brings lie in <package>.libs beside it.
    package = next(
        (p for p in (path, *path.parents) if p.parent.name in ("site-packages", "dist-packages")), None
    )
    if package is None:
        raise NotConfiguredError(f"the user {account.name} can't reach {path}; start as an ordinary user")
    stamp = f"{package}:{package.stat().st_mtime_ns}"
    copy = SHARED_FOLDER / f"{package.name}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not copy.exists():
        _copy_package(package, copy)
    return copy / path.relative_to(package.parent)


def _can_enter(path: Path, account: Account) -> bool:
    return all(_allows(folder.stat(), account, stat.S_IXOTH) for folder in (path, *path.parents))


def _allows(status: os.stat_result, account: Account, bit: int) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & (bit << 6))
    if status.st_gid == account.gid:
        return bool(status.st_mode & (bit << 3))
    return bool(status.st_mode & bit)


def _copy_package(package: Path, copy: Path) -> None:
    SHARED_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = copy.with_name(f"{copy.name}.{os.getpid()}")
    for name in (package.name, f"{package.name}.libs"):
        if (source := package.with_name(name)).is_dir():
            shutil.copytree(source, draft / name, symlinks=True, copy_function=_link_or_copy)
    for folder, _, _ in os.walk(draft):
        Path(folder).chmod(0o755)
    try:
        draft.rename(copy)
    except OSError:  # another process made the same copy first
        shutil.rmtree(draft)
        if not copy.exists():
            raise


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).stat().st_mode & stat.S_IROTH:
        try:
            os.link(source, target)
        except OSError:
            pass  # another file system
        else:
            return
    shutil.copy2(source, target)
    Path(target).chmod(0o755)
