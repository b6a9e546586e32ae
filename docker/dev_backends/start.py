"""What the servers have in common: where things are, passwords, and one server per data folder."""

import fcntl
import os
from pathlib import Path

PACKAGES = Path(os.environ.get("MEDIA_GATEWAY_DEV_PACKAGES", "/opt/dev-backends/packages"))
"""Where the Python packages that carry the binaries were unpacked."""

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""All that a server inherits: no variable may change it, and no password stays readable in ``/proc``."""


class StartError(Exception):
    """The server can't run as it was started; the message says what to change."""


def data_folder(server: str) -> Path:
    """The server's folder, held by this process: no other may use it at the same time.

    The lock passes on to a program that this process becomes, and ends with it in any case.
    """
    root = Path(os.environ.get("MEDIA_GATEWAY_DEV_DATA", "/data"))
    if not os.access(root, os.W_OK | os.X_OK):
        raise StartError(
            f"{root} can't be written to by user {os.getuid()}; mount a volume there, with fsGroup {os.getgid()}"
        )
    lock = os.open(root / f".{server}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(f"another {server} still runs on {root}") from None
    return root / server


def password(variable: str) -> str:
    """A password from a variable, or from the file that ``<variable>_FILE`` names."""
    file = os.environ.get(f"{variable}_FILE")
    value = Path(file).read_text(encoding="utf-8").rstrip("\n") if file else os.environ.get(variable, "")
    if not value:
        raise StartError(f"{variable} or {variable}_FILE must be set: this server has no password of its own")
    if not value.isprintable():
        raise StartError(f"{variable} must consist of printable characters")
    return value
