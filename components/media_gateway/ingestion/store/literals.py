"""Postgres array literals, for large arrays and for rows that hold arrays.

The driver looks at each element of a Python list several times before it encodes it, so that text costs the client a
fifth; and arrays of arrays of different lengths (rows with a set each) have no other form to travel in.
"""

from collections.abc import Iterable


def texts(values: Iterable[str]) -> str:
    """Literal of a ``text[]``."""
    return "{" + ",".join([_quoted(value) for value in values]) + "}"


def numbers(values: Iterable[int]) -> str:
    """Literal of an ``int[]`` or ``bigint[]``."""
    return "{" + ",".join(map(str, values)) + "}"


def _quoted(value: str) -> str:
    # Four letters may be "null", which alone would be read as NULL.
    if value.isalnum() and value.isascii() and len(value) != 4:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
