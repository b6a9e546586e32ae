"""The state folder: its version, its generated secrets, who owns the servers in it.

Layout: ``version.json``, ``secrets/`` (0600), ``run/`` (locks and endpoints), ``postgres/``, ``redis/``, ``logs/``,
``models/``. The folder is ours alone (0700).
"""

import fcntl
import json
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from media_gateway.core.errors import NotConfiguredError

FORMAT = 1
"""Version of the layout above. A release that changes it upgrades older folders here."""

LOG_LIMIT_BYTES = 10_000_000
"""A server log above this is set aside as ``.1`` when the server starts."""


class StateFolder:
    """Files of one state folder.

    Parameters
    ----------
    path
        The folder; made with mode 0700 if absent.

    Raises
    ------
    NotConfiguredError
        It can't be used: not writable, or written by a newer release.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in ("run", "secrets", "logs"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
            self._check_version()
        except OSError as error:
            raise NotConfiguredError(
                f"the state folder {self.path} can't be used: {error.strerror or error}; "
                "choose another with --state-dir or MEDIA_GATEWAY_STATE_DIR"
            ) from error

    def _check_version(self) -> None:
        file = self.path / "version.json"
        found = read_json(file)
        if found is None:
            write_private(file, json.dumps({"format": FORMAT}))
        elif not isinstance(found.get("format"), int) or found["format"] > FORMAT:
            raise NotConfiguredError(
                f"the state folder {self.path} was written by a newer release (format {found.get('format')}, this one "
                f"knows {FORMAT}); upgrade media-gateway, or choose another folder with --state-dir"
            )

    def secret(self, name: str) -> str:
        """A secret generated on first use: 64 hexadecimal digits, kept in a file with mode 0600."""
        file = self.path / "secrets" / name
        with suppress(FileNotFoundError):
            return file.read_text().strip()
        write_private(file, secrets.token_hex(32), only_if_absent=True)
        return file.read_text().strip()

    def run_file(self, name: str) -> Path:
        """A file that describes something running."""
        return self.path / "run" / name

    def log_file(self, name: str) -> Path:
        """The log of a server, rotated once."""
        file = self.path / "logs" / f"{name}.log"
        with suppress(FileNotFoundError):
            if file.stat().st_size > LOG_LIMIT_BYTES:
                file.replace(file.with_name(f"{file.name}.1"))
        return file


class OwnerLock:
    """Held by the one process that runs a server; the kernel frees it however that process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self._descriptor is not None

    def try_acquire(self) -> bool:
        """Take it if nobody has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def write_private(path: Path, text: str, *, only_if_absent: bool = False) -> None:
    """Write a file with mode 0600 so that readers see the old text or the new, never a part.

    Parameters
    ----------
    path
        The file.
    text
        Its whole text.
    only_if_absent
        Leave an existing file as it is (the first of two writers wins).
    """
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if only_if_absent:
            with suppress(FileExistsError):
                os.link(draft, path)
        else:
            Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is absent or no JSON object."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
