"""The folder that jobs from outside may read files of. Used by the sources that open files; decides, opens nothing itself."""

import os
from pathlib import Path
from typing import BinaryIO

from media_gateway.core.errors import FieldError, InvalidInputError

SETTING = "MEDIA_GATEWAY_INGESTION_FILE_DIR"


class FileRoot:
    """A folder, and nothing outside of it: what leads out by ``..`` or a symbolic link is refused.

    Parameters
    ----------
    folder
        The folder; None allows no file at all.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder.expanduser().resolve() if folder is not None else None

    def folder(self, field: str) -> Path:
        """The folder, without symbolic links.

        Raises
        ------
        InvalidInputError
            There is none; names the manifest's ``field``.
        """
        if self._folder is None:
            raise _refusal(field, f"files are refused here; set {SETTING} to allow a folder")
        return self._folder

    def real(self, path: str | Path, field: str) -> Path:
        """The absolute path, without symbolic links, of a path that is relative to the folder or lies below it.

        To be asked again each time something is opened, and its answer opened: a link may have changed since.

        Raises
        ------
        InvalidInputError
            It leads out of the folder; names the manifest's ``field``.
        """
        folder = self.folder(field)
        try:
            found = (folder / path).resolve()
        except (OSError, RuntimeError, ValueError):  # a circle of links, a NUL
            raise _refusal(field, "is no usable path") from None
        # Before a wildcard `..` means another folder than the one that is resolved here.
        if ".." in Path(path).parts or not found.is_relative_to(folder):
            raise _refusal(field, f"must be inside of {folder}")
        return found

    def open(self, path: str | Path, field: str) -> BinaryIO:
        """Open a file of the folder for reading; raises as `real`, or `OSError`."""
        return open(
            self.real(path, field), "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)
        )


def _refusal(field: str, message: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {message}", errors=[FieldError(field, message)])
