"""What a format reader gives, and the contract of readers.

Readers work on a seekable binary stream, in a thread; they know neither where the stream comes from nor what its
records mean. Whatever the bytes are, they give problems, they do not raise: reading stops only where nothing more can
be made out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

Position = tuple[int, int]
"""Where a reader continues: a byte offset or a number of records, and the line before it (line formats only)."""

START: Position = (0, 0)
END: Position = (-1, 0)
"""There is nothing more to read in the stream."""


class UnreadableError(ValueError):
    """A record that can't be read; the message says why."""


@dataclass(slots=True)
class Parsed:
    """A record, or a problem where one should be.

    Attributes
    ----------
    payload : dict | None
        The record; None for a problem.
    line : int | None
        Line (or row) it begins at, from 1.
    position : tuple
        Reading from this position continues right after it.
    problem : str
        What is wrong.
    field : str | None
        Column the problem is about.
    raw : object
        What was read, for an excerpt.
    """

    payload: dict[str, Any] | None
    line: int | None
    position: Position
    problem: str = ""
    field: str | None = None
    raw: object = b""


class FormatReader(Protocol):
    """Reads one format."""

    def read(self, stream: BinaryIO, position: Position = START) -> Iterator[Parsed]:
        """Records and problems from a position on."""
