"""JSON documents: a list of objects, read piece by piece, or a document with the list somewhere inside.

Positions are numbers of records.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import jmespath
from jmespath.exceptions import JMESPathError

from media_gateway.core.errors import InvalidInputError
from media_gateway.ingestion.formats.json_objects import (
    DECODER,
    parse_value,
    require_object,
)
from media_gateway.ingestion.formats.lines import UTF8_BOM
from media_gateway.ingestion.formats.parsed import END, START, Parsed, Position, UnreadableError

DOCUMENT_LIMIT_BYTES = 256 * 1024 * 1024
"""Largest document that is loaded as a whole, which a records path needs; a plain list has no limit."""

CHUNK_BYTES = 262_144
_SPACE = " \t\r\n"
_PLAIN = json.JSONDecoder()


class JsonReader:
    """Reads the objects of a document.

    Parameters
    ----------
    records_path
        JMESPath of the list; None if the document is the list (or the one record).
    limit_bytes
        Longest record of a list that is read piece by piece, in bytes (counted in characters).

    Raises
    ------
    InvalidInputError
        ``records_path`` is no JMESPath.
    """

    def __init__(self, records_path: str | None, limit_bytes: int) -> None:
        self._limit = limit_bytes
        try:
            self._path = jmespath.compile(records_path) if records_path is not None else None
        except JMESPathError as error:
            raise InvalidInputError(f"spec.source.json.recordsPath: {error}") from error

    def read(self, stream: BinaryIO, position: Position = START) -> Iterator[Parsed]:
        """Records and problems after a number of records."""
        start = stream.read(1024)
        stream.seek(0)
        if self._path is None and start.removeprefix(UTF8_BOM).lstrip().startswith(b"["):
            found = _Elements(stream, self._limit).read()
        else:
            found = self._whole(stream)
        for number, parsed in enumerate(found, 1):
            if number > position[0]:
                parsed.position = (number, 0)
                yield parsed

    def _whole(self, stream: BinaryIO) -> Iterator[Parsed]:
        data = stream.read(DOCUMENT_LIMIT_BYTES + 1).removeprefix(UTF8_BOM)
        if not data.strip():
            return
        try:
            if len(data) > DOCUMENT_LIMIT_BYTES:
                raise UnreadableError(f"the document is larger than {DOCUMENT_LIMIT_BYTES} bytes")  # noqa: TRY301 - one place turns it into a problem
            records = self.records(parse_value(data))
        except UnreadableError as error:
            yield Parsed(None, None, END, problem=f"the document can't be read: {error}", raw=data[:1000])
            return
        for record in records:
            yield _checked(record, None)

    def records(self, document: Any) -> list[Any]:
        """The records in a parsed document.

        Raises
        ------
        UnreadableError
            There are none where the path says.
        """
        found = document if self._path is None else self._search(document)
        if isinstance(found, dict):
            return [found]
        if not isinstance(found, list):
            raise UnreadableError("there is no list of records at the records path")
        return found

    def _search(self, document: Any) -> Any:
        assert self._path is not None
        try:
            return self._path.search(document)
        except JMESPathError as error:
            raise UnreadableError(f"the records path does not fit: {error}") from error


def _checked(value: Any, line: int | None, raw: str = "") -> Parsed:
    try:
        return Parsed(require_object(value), line, START)
    except UnreadableError as error:
        return Parsed(None, line, START, problem=str(error), raw=raw or value)


class _Elements:
    """The elements of a top-level list, from a window of text that moves over the stream."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False

    def read(self) -> Iterator[Parsed]:
        try:
            self._skip_space()
            self._at += 1  # the opening bracket, which the caller saw
            yield from self._elements()
        except UnreadableError as error:
            rest = f"the rest of the file can't be read: {error}"
            yield Parsed(None, self._line, END, problem=rest, raw=self._text[self._at : self._at + 1000])

    def _elements(self) -> Iterator[Parsed]:
        mark = self._skip_space()
        if mark == "]":
            self._at += 1
            self._expect_end()
            return
        while True:
            yield self._element()
            mark = self._skip_space()
            if mark not in {",", "]"}:
                raise UnreadableError(
                    "the file ends before the list does" if not mark else "a comma is missing"
                )
            self._at += 1
            if mark == "]":
                self._expect_end()
                return
            self._skip_space()

    def _element(self) -> Parsed:
        line, start = self._line, self._at
        step = CHUNK_BYTES
        while True:
            value, problem, end = self._decode()
            # A number or a half-read literal may go on in the next piece; an object or a text can't.
            if end is not None and (end < len(self._text) or self._ended):
                break
            if self._ended:
                raise UnreadableError(problem or "the file ends in the middle of a record")
            if len(self._text) - self._at > self._limit:
                raise UnreadableError(problem or f"a record is longer than {self._limit} bytes")
            self._more(step)
            start, step = self._at, step * 2
        raw = self._text[start : start + 1000]
        self._line += self._text.count("\n", self._at, end)
        self._at = end
        return Parsed(None, line, START, problem=problem, raw=raw) if problem else _checked(value, line, raw)

    def _decode(self) -> tuple[Any, str, int | None]:
        """Value, problem, and where the element ends (None if that can't be said yet)."""
        try:
            value, end = DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            return None, f"not JSON: {error.msg}", None
        except UnreadableError as error:
            return None, str(error), self._end_of_unusable()
        except RecursionError as error:
            raise UnreadableError("nested too deeply") from error
        except ValueError as error:  # a number of more digits than Python converts
            raise UnreadableError(f"not usable JSON: {error}") from error
        return value, "", end

    def _end_of_unusable(self) -> int | None:
        """Where an element ends that is JSON to a lax reader (a key twice, NaN): reading goes on after it."""
        try:
            return _PLAIN.raw_decode(self._text, self._at)[1]
        except ValueError:
            return None

    def _skip_space(self) -> str:
        """The next character that is no space, or nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._line += self._text[self._at] == "\n"
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more(CHUNK_BYTES)

    def _expect_end(self) -> None:
        if self._skip_space():
            raise UnreadableError("something stands after the end of the list")

    def _more(self, size: int) -> None:
        data = self._stream.read(size)
        self._ended = not data
        try:
            more = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise UnreadableError("it is not UTF-8") from error
        self._text = self._text[self._at :] + more
        self._at = 0
