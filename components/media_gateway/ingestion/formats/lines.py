"""Lines of a byte stream with a bound on their length, for the line formats."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """One line without its end.

    Attributes
    ----------
    number : int
        From 1.
    data : bytes
        Content; only the beginning if it is too long.
    end : int
        Offset right after the line, in bytes of the (unpacked) stream.
    complete : bool
        Whether a line end stood after it; the last line of a file may lack one.
    too_long : bool
        Longer than the limit.
    """

    number: int
    data: bytes
    end: int
    complete: bool
    too_long: bool


def read_lines(stream: BinaryIO, limit_bytes: int, *, offset: int = 0, number: int = 0) -> Iterator[Line]:
    """Lines from an offset on; ``number`` is that of the line before. Ends with LF or CR LF; a UTF-8 BOM is left out."""
    if offset:
        stream.seek(offset)
    while data := stream.readline(limit_bytes + 2):
        number += 1
        offset += len(data)
        complete = data.endswith(b"\n")
        too_long = len(data) > limit_bytes + 1 if complete else len(data) > limit_bytes
        while not complete and (rest := stream.readline(1_048_576)):
            offset += len(rest)
            complete = rest.endswith(b"\n")
        if number == 1 and data.startswith(UTF8_BOM):
            data = data[3:]
        yield Line(number, data.rstrip(b"\r\n"), offset, complete, too_long)


def decode_problem(error: UnicodeDecodeError) -> str:
    """What to say of bytes in another encoding."""
    return f"byte 0x{error.object[error.start]:02X} at position {error.start + 1} is not {error.encoding.upper()}"
