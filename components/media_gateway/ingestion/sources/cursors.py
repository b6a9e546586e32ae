"""Cursors of incremental runs: text that can be stored, shown and compared.

A cursor is a number, a moment (ISO 8601) or other text; Kafka's is a JSON object of next offsets by partition. Used by
the sources to leave out what is not newer, and by the run to keep the greatest.
"""

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

Key = tuple[int, Decimal | datetime | str]

KINDS = ("a number", "a time", "a text")
"""What the first part of a key stands for."""


def cursor_text(value: Any) -> str | None:
    """A field's value as cursor, or None if it can't be one."""
    match value:
        case bool() | None | dict() | list():
            return None
        case datetime() | date():
            return value.isoformat()
        case _:
            return str(value).strip() or None


def later(one: str | None, other: str | None) -> str | None:
    """The cursor that stands for both: the greater one; for partitions, the greater offset of each."""
    if one is None or other is None:
        return other if one is None else one
    if one.startswith("{") and other.startswith("{"):
        merged: dict[str, int] = orjson.loads(one)
        for partition, offset in orjson.loads(other).items():
            merged[partition] = max(offset, merged.get(partition, 0))
        return orjson.dumps(merged, option=orjson.OPT_SORT_KEYS).decode()
    return other if cursor_key(other) > cursor_key(one) else one


def cursor_key(cursor: str) -> Key:
    """What cursors are compared by. Numbers come before moments, moments before other text."""
    try:
        number = Decimal(cursor)
        if number.is_finite():
            return 0, number
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError:
        return 2, cursor
    return 1, moment if moment.tzinfo else moment.replace(tzinfo=UTC)
