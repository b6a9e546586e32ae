"""What a source is to a run: items with checkpoints, an estimate, a position.

The run (``services.runs``) reads items, maps and writes them, and stores the checkpoint of the last written item in the
transaction that wrote it. Sources know neither the catalogue nor the run.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from media_gateway.ingestion.formats.plain_values import json_text

EXCERPT_LENGTH = 200
"""Characters of a bad item that are kept for the dead letters."""


@dataclass(slots=True)
class RawRecord:
    """A record as the source gave it.

    Attributes
    ----------
    payload : dict
        JSON-like values: str, int, float, bool, None, list, dict.
    line : int | None
        Line or row in its file, from 1; None where there are no lines.
    checkpoint : str
        Opaque; reading with it continues right after this item.
    cursor : str | None
        Value of the job's cursor field, as text; None in a Full run. The run keeps the
        greatest by `cursors.later` and stores it as the job's cursor when the whole run is done, not before: a source
        need not give its records in cursor order.
    """

    payload: dict[str, Any]
    line: int | None
    checkpoint: str
    cursor: str | None = None


@dataclass(slots=True)
class BadItem:
    """Something in the source that is no record; reading goes on after it.

    Attributes
    ----------
    reason : str
        What is wrong, for a person.
    field : str | None
        The field or column it is about, if it is about one.
    line : int | None
        Line or row in its file, from 1.
    excerpt : str
        The beginning of what was read, printable, at most `EXCERPT_LENGTH` characters.
    checkpoint : str
        As for a record.
    payload : dict | None
        The record, if it could be read as one and is refused for what stands in it.
    """

    reason: str
    field: str | None
    line: int | None
    excerpt: str
    checkpoint: str
    payload: dict[str, Any] | None = None


SourceItem = RawRecord | BadItem


class Source(Protocol):
    """A place records are read from. Made by `sources.open_source`; holds no connection between reads."""

    @property
    def units_read(self) -> int:
        """How far the running read is, in the units of `estimate` (bytes, rows or messages); items left out count."""

    async def estimate(self) -> int | None:
        """How many units there are to read in all, or None if that is not known (yet: ask again during the read)."""

    def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Read items in an order that is the same each time.

        Parameters
        ----------
        checkpoint
            Of the last item that was dealt with, to continue after it; None for the beginning.
        cursor
            In an Incremental run, the job's stored cursor: only records whose cursor field is greater are given. One that
            lacks the field, or can't be compared by it, is a bad item: nothing can be said about it.

        Returns
        -------
        AsyncGenerator
            Close it (``contextlib.aclosing``) when leaving early: it holds files and connections.

        Raises
        ------
        UnavailableError, DeadlineExceededError, RateLimitedError
            The source is away for now; reading again with the last checkpoint continues.
        InvalidInputError, UnauthenticatedError, PermissionDeniedError, NotFoundError, NotConfiguredError
            The source can't be read as it is described; the message names the manifest's field.
        """


def excerpt(data: object) -> str:
    """The beginning of something unreadable, as the source wrote it or as JSON, safe to print and to store."""
    if isinstance(data, bytes | bytearray | memoryview):
        text = bytes(data[: EXCERPT_LENGTH * 4]).decode("utf-8", errors="replace")
    else:
        text = data if isinstance(data, str) else json_text(data)
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:EXCERPT_LENGTH])


def at_path(payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Value at a dotted path, or None."""
    value: Any = payload
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
