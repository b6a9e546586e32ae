"""The log of `up`: a text file that never grows beyond two halves of its limit."""

import io
import os
import threading
from pathlib import Path

LIMIT_BYTES = 20_000_000


class RotatingFile(io.TextIOBase):
    """A text stream to a file with mode 0600 that is set aside as ``.1`` whenever it gets too long.

    Parameters
    ----------
    path
        The file; appended to.
    limit_bytes
        Longest it gets.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        super().__init__()
        self._path = path
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._descriptor = self._open()
        self._size_bytes = os.fstat(self._descriptor).st_size

    def write(self, text: str, /) -> int:
        """Append; a line is never torn between the two files."""
        encoded = text.encode(errors="backslashreplace")
        with self._lock:
            if self._size_bytes and self._size_bytes + len(encoded) > self._limit_bytes:
                os.close(self._descriptor)
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._descriptor = self._open()
                self._size_bytes = 0
            # A single unbuffered write: nothing is lost when the process is killed.
            self._size_bytes += os.write(self._descriptor, encoded)
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)
