"""Newline-delimited JSON: one object a line. Positions are byte offsets."""

from collections.abc import Iterator
from typing import BinaryIO

from media_gateway.ingestion.formats.json_objects import parse_object
from media_gateway.ingestion.formats.lines import UTF16_BOMS, Line, read_lines
from media_gateway.ingestion.formats.parsed import END, START, Parsed, Position, UnreadableError


class NdjsonReader:
    """Reads objects line by line; blank lines are passed over.

    Parameters
    ----------
    limit_bytes
        Longest line.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes

    def read(self, stream: BinaryIO, position: Position = START) -> Iterator[Parsed]:
        """Records and problems from a byte offset on."""
        offset, number = position
        for one in read_lines(stream, self._limit, offset=offset, number=number):
            if one.number == 1 and one.data.startswith(UTF16_BOMS):
                yield Parsed(None, 1, END, problem="the file is UTF-16; NDJSON is UTF-8", raw=one.data)
                return
            if one.too_long or one.data.strip():
                yield self._parse(one)

    def _parse(self, line: Line) -> Parsed:
        if line.too_long:
            problem = f"the line is longer than {self._limit} bytes"
        else:
            try:
                return Parsed(parse_object(line.data), line.number, (line.end, line.number))
            except UnreadableError as error:
                problem = str(error)
        if not line.complete:
            problem = f"the file ends in the middle of a record ({problem})"
        return Parsed(None, line.number, (line.end, line.number), problem, raw=line.data)
