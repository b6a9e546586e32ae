"""A SQLite file as a source: never written, never created. Used by `database` only."""

import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from media_gateway.core.errors import FieldError, InvalidInputError
from media_gateway.ingestion.sources.file_root import FileRoot


class SqliteFile:
    """The file that a SQLAlchemy address of SQLite names, as a path or as a ``file:`` URI (whose options don't count).

    Parameters
    ----------
    url
        The address.
    field
        Field of the manifest that it comes from, for messages.
    root
        Folder that the file must lie in; None for any.

    Raises
    ------
    InvalidInputError
        The address names no file, or one outside of the folder.
    """

    def __init__(self, url: sa.URL, field: str, root: FileRoot | None) -> None:
        name = url.database or ""
        if name.startswith("file:"):
            name = unquote(urlsplit(name).path)
        if name in {"", ":memory:"}:
            message = "names no SQLite file"
            raise InvalidInputError(f"{field}: {message}", errors=[FieldError(field, message)])
        self._path = Path(name)
        self._field = field
        self._root = root
        self._real()

    def connect(self, timeout_s: float) -> sqlite3.Connection:
        """A connection that can only read; to be used in any thread, by one at a time.

        Raises
        ------
        InvalidInputError
            The file is not there, or has come to lie outside of the folder.
        """
        path = self._real()
        if not path.is_file():
            # The path may be a secret's; only its last part is told.
            raise InvalidInputError(f"{self._field}: there is no file {path.name}")
        return sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=timeout_s
        )

    def _real(self) -> Path:
        return self._path.absolute() if self._root is None else self._root.real(self._path, self._field)
