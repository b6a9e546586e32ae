"""Files on a disk: one, a folder's, or those of a glob pattern, in the order of their names."""

import asyncio
import bz2
import glob
import gzip
import lzma
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from media_gateway.core.domain.specs import SourceSpec
from media_gateway.core.errors import InvalidInputError, UnavailableError
from media_gateway.ingestion.formats import START, Parsed, open_format
from media_gateway.ingestion.sources.file_root import FileRoot
from media_gateway.ingestion.sources.items import SourceItem
from media_gateway.ingestion.sources.reading import (
    Admission,
    in_thread,
    read_checkpoint,
    read_guarded,
    write_checkpoint,
)

PVC_MOUNT = Path("/var/lib/media-gateway/files")
"""Where the operator mounts the volume claim that a job names."""

FIELD = "spec.source.file.path"

_UNPACK: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class FilesSource:
    """Reads files.

    A file's checkpoint is only good for the file as it was: one that has changed since is read anew. With a root every
    file that is found, by whatever pattern, is checked against it each time it is opened.
    """

    def __init__(self, spec: SourceSpec, cursor_field: str | None, root: FileRoot | None = None) -> None:
        assert spec.file is not None
        path = spec.file.path
        self._path = str(PVC_MOUNT / path) if spec.file.pvc and PVC_MOUNT.is_dir() else path
        self._pattern = self._path
        self._root = root
        if root is not None:
            root.real(self._path, FIELD)
            folder = root.folder(FIELD)
            self._pattern = str(Path(glob.escape(str(folder)), self._path))
            self._path = str(folder / self._path)
        self._reader = open_format(spec)
        self._rows = spec.format == "Parquet"
        self._cursor_field = cursor_field
        self._done = 0
        self._at = 0

    @property
    def units_read(self) -> int:
        """Bytes on the disk that were read; rows for Parquet."""
        return self._done + self._at

    async def estimate(self) -> int | None:
        """Bytes of all files; rows for Parquet."""
        return await asyncio.to_thread(lambda: sum(self._units(path) for path in self._files()))

    async def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Records of all files."""
        place = read_checkpoint(checkpoint, "file", "state", "at")
        admission = Admission(self._cursor_field, cursor)
        self._done = self._at = 0
        for path in await asyncio.to_thread(self._files):
            if place is not None and str(path) < place["file"]:
                self._done += await asyncio.to_thread(self._units, path)
                continue
            state = await asyncio.to_thread(self._state, path)
            same = place is not None and place["file"] == str(path) and place["state"] == state
            position = tuple(place["at"]) if place is not None and same else START
            async with in_thread(partial(self._parse, path, position)) as batches:
                async for batch in batches:
                    for parsed in batch:
                        item = admission.item(
                            parsed, write_checkpoint(file=str(path), state=state, at=parsed.position)
                        )
                        if item is not None:
                            yield item
            self._at = 0
            self._done += await asyncio.to_thread(self._units, path)

    def _files(self) -> list[Path]:
        path = Path(self._path)
        if path.is_dir():
            found = [child for child in path.iterdir() if not child.name.startswith(".")]
        elif path.exists():
            found = [path]
        else:
            found = [Path(name) for name in glob.glob(self._pattern, recursive=True)]  # noqa: PTH207 - the pattern may be absolute, which Path.glob refuses
        files = sorted((file for file in found if file.is_file()), key=str)
        if not files:
            raise InvalidInputError(f"{FIELD}: no file is there: {self._path}")
        return files

    def _units(self, path: Path) -> int:
        if not self._rows:
            with _told(path):
                return self._real(path).stat().st_size
        from media_gateway.ingestion.formats.parquet import count_rows

        with _told(path), self._open(path) as file:
            return count_rows(file)

    def _state(self, path: Path) -> str:
        """Changes whenever the file does."""
        with _told(path):
            status = self._real(path).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def _real(self, path: Path) -> Path:
        return path if self._root is None else self._root.real(path, FIELD)

    def _open(self, path: Path) -> BinaryIO:
        return path.open("rb") if self._root is None else self._root.open(path, FIELD)

    def _parse(self, path: Path, position: tuple[int, int]) -> Iterator[Parsed]:
        with _told(path), self._open(path) as file:
            for parsed in read_guarded(self._reader, unpacked(file, path.suffix), position):
                self._at = max(parsed.position[0], self._at) if self._rows else file.tell()
                yield parsed


def unpacked(stream: BinaryIO, suffix: str) -> BinaryIO:
    """The stream itself, or what is packed in it if the file's name ends in ``.gz``, ``.bz2`` or ``.xz``."""
    unpack = _UNPACK.get(suffix.lower())
    return cast("BinaryIO", unpack(stream)) if unpack else stream


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise InvalidInputError(f"{FIELD}: no right to read {path}") from error
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror or error}") from error
