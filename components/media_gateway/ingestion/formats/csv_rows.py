"""Comma-separated values (RFC 4180 with a dialect). Positions are numbers of rows after the header."""

import csv
from collections.abc import Iterator
from typing import BinaryIO

from media_gateway.core.domain.specs import CsvOptions
from media_gateway.ingestion.formats.lines import UTF16_BOMS, Line, decode_problem, read_lines
from media_gateway.ingestion.formats.parsed import END, START, Parsed, Position, UnreadableError


class CsvReader:
    """Reads rows as objects of texts, by the names in the header or in the options; blank lines are passed over.

    Parameters
    ----------
    options
        Dialect, encoding and column names.
    limit_bytes
        Longest line.
    """

    def __init__(self, options: CsvOptions, limit_bytes: int) -> None:
        self._options = options
        self._limit = limit_bytes

    def read(self, stream: BinaryIO, position: Position = START) -> Iterator[Parsed]:
        """Records and problems after a number of rows; the rows before are parsed again and passed over."""
        lines = _Texts(read_lines(stream, self._limit), self._options.encoding, self._limit)
        rows = csv.reader(
            lines, delimiter=self._options.delimiter, quotechar=self._options.quote, strict=True
        )
        # A field may be as long as a line may be, not the module's 128 KiB; the setting belongs to the process.
        csv.field_size_limit(max(csv.field_size_limit(), self._limit))
        columns: tuple[str, ...] | None = None
        try:
            columns = self._options.columns or _header(rows)
        except (csv.Error, UnreadableError) as error:
            yield Parsed(None, 1, END, problem=f"the header can't be used: {error}", raw=lines.raw)
        if columns is None:
            return
        for number, parsed in enumerate(_records(rows, lines, columns), 1):
            if number > position[0]:
                parsed.position = (number, 0)
                yield parsed


class _Texts:
    """Decoded lines; a bad one raises without ending the iteration (a generator would be over)."""

    def __init__(self, lines: Iterator[Line], encoding: str, limit_bytes: int) -> None:
        self._lines = lines
        self._encoding = encoding
        self._limit = limit_bytes
        self.number = 0
        self.raw = b""

    def __iter__(self) -> "_Texts":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number, self.raw = line.number, line.data
        if line.number == 1 and line.data.startswith(UTF16_BOMS):
            raise UnreadableError("the file is UTF-16")
        if line.too_long:
            raise UnreadableError(f"the line is longer than {self._limit} bytes")
        try:
            return line.data.decode(self._encoding) + "\n"
        except UnicodeDecodeError as error:
            raise UnreadableError(decode_problem(error)) from error


def _header(rows: Iterator[list[str]]) -> tuple[str, ...] | None:
    for row in rows:
        if row:
            names = tuple(name.strip() or f"column_{n}" for n, name in enumerate(row, 1))
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise UnreadableError(f"the column {twice!r} appears twice")
            return names
    return None


def _records(rows: Iterator[list[str]], lines: _Texts, columns: tuple[str, ...]) -> Iterator[Parsed]:
    while True:
        first = lines.number + 1
        problem = ""
        row: list[str] = []
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"not CSV: {error}"
        except UnreadableError as error:
            problem = str(error)
        if not row and not problem:
            continue
        if row and len(row) != len(columns):
            problem = f"{len(row)} columns where {len(columns)} are named"
        if problem:
            yield Parsed(None, first, START, problem=problem, raw=lines.raw)
        else:
            yield Parsed(dict(zip(columns, row, strict=True)), first, START)
