"""What the sources share: checkpoints, readers run in threads, and parsed records made into items.

Used by the modules of ``sources`` only.
"""

import asyncio
import itertools
import lzma
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, BinaryIO, TypeVar

import orjson

from media_gateway.core.errors import InvalidInputError
from media_gateway.ingestion.formats import END, FormatReader, Parsed, Position
from media_gateway.ingestion.sources.cursors import KINDS, Key, cursor_key, cursor_text
from media_gateway.ingestion.sources.items import BadItem, RawRecord, SourceItem, at_path, excerpt

T = TypeVar("T")

BATCH_ITEMS = 200
"""Items parsed per visit to a thread: few enough to hold, many enough that the visit costs nothing."""


def write_checkpoint(**values: Any) -> str:
    """A checkpoint's text; short names, since one stands in every item."""
    return orjson.dumps(values).decode()


def read_checkpoint(text: str | None, *names: str) -> dict[str, Any] | None:
    """A checkpoint's values, or None for the beginning.

    Raises
    ------
    InvalidInputError
        It is not one of this kind of source, for example because the job's source was changed.
    """
    if text is None:
        return None
    with suppress(orjson.JSONDecodeError):
        values = orjson.loads(text)
        if isinstance(values, dict) and all(name in values for name in names):
            return values
    raise InvalidInputError("the checkpoint belongs to another kind of source; start the run anew")


class Admission:
    """Decides by the cursor which records are new, and makes items.

    A record whose cursor is missing, or of another kind than those before it, is refused: taken, it would come again with
    every run, or as the greatest of all keep every later record out.

    Parameters
    ----------
    cursor_field
        Dotted source field; None gives everything.
    after
        Records must be greater than this.
    """

    def __init__(self, cursor_field: str | None, after: str | None) -> None:
        self._field = cursor_field
        self._path = tuple(cursor_field.split(".")) if cursor_field else None
        self._after: Key | None = cursor_key(after) if cursor_field and after is not None else None
        self._kind = self._after[0] if self._after is not None else None

    def item(self, parsed: Parsed, checkpoint: str) -> SourceItem | None:
        """The item, or None for a record that is not new."""
        if parsed.payload is None:
            return BadItem(parsed.problem, parsed.field, parsed.line, excerpt(parsed.raw), checkpoint)
        if self._path is None:
            return RawRecord(parsed.payload, parsed.line, checkpoint)
        cursor = cursor_text(at_path(parsed.payload, self._path))
        if cursor is None:
            return self._refused(
                parsed, checkpoint, "the cursor field is missing, or no number, time or text"
            )
        key = cursor_key(cursor)
        if self._kind is None:
            self._kind = key[0]
        if key[0] != self._kind:
            reason = f"{cursor[:80]!r} is {KINDS[key[0]]}, but a cursor before it is {KINDS[self._kind]}"
            return self._refused(parsed, checkpoint, reason)
        if self._after is not None and key <= self._after:
            return None
        return RawRecord(parsed.payload, parsed.line, checkpoint, cursor)

    def _refused(self, parsed: Parsed, checkpoint: str, reason: str) -> BadItem:
        shown = excerpt(parsed.payload)
        return BadItem(reason, self._field, parsed.line, shown, checkpoint, parsed.payload)


def read_guarded(reader: FormatReader, stream: BinaryIO, position: Position) -> Iterator[Parsed]:
    """Parse a stream; a compressed stream that is damaged or cut off ends in a problem."""
    if position == END:
        return
    line = None
    try:
        for parsed in reader.read(stream, position):
            line = parsed.line
            yield parsed
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        yield Parsed(None, line, END, problem=f"the compressed file is damaged or ends early ({error})")
    except OSError as error:
        # gzip and bz2 report damage as OSError without an errno; a disk that fails has one.
        if error.errno is not None:
            raise
        yield Parsed(None, line, END, problem=f"the compressed file is damaged ({error})")


@asynccontextmanager
async def in_thread(make: Callable[[], Iterator[T]]) -> AsyncIterator[AsyncIterator[list[T]]]:
    """Run a blocking iterator in threads, batch by batch; it is closed in the end, also after a cancellation."""
    lock = threading.Lock()
    iterator: Iterator[T] | None = None

    def advance() -> list[T]:
        nonlocal iterator
        with lock:
            if iterator is None:
                iterator = make()
            return list(itertools.islice(iterator, BATCH_ITEMS))

    def close() -> None:
        # A cancelled wait leaves its thread at work; closing a running generator would fail.
        with lock:
            if (end := getattr(iterator, "close", None)) is not None:
                end()

    async def batches() -> AsyncIterator[list[T]]:
        while batch := await asyncio.to_thread(advance):
            yield batch

    try:
        yield batches()
    finally:
        await asyncio.to_thread(close)
