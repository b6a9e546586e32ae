"""Values of databases and columnar files as JSON-like values, so that every record can be kept as it came."""

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from media_gateway.ingestion.formats.lines import decode_problem
from media_gateway.ingestion.formats.parsed import UnreadableError


def plain_record(row: dict[str, Any]) -> dict[str, Any]:
    """A row with JSON-like values: times as ISO 8601, decimals as text (no digit lost), bytes as UTF-8 text.

    Raises
    ------
    UnreadableError
        Bytes that are no text, or a value of a kind that has no JSON form; names the column.
    """
    result = {}
    for name, value in row.items():
        try:
            result[str(name)] = plain_value(value)
        except UnreadableError as error:
            raise UnreadableError(f"column {name}: {error}") from error
    return result


def plain_value(value: Any) -> Any:
    """One value with its JSON-like form; raises as `plain_record`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(key): plain_value(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [plain_value(item) for item in value]
        case bytes() | bytearray() | memoryview():
            return _text(bytes(value))
        case _:
            return _scalar(value)


def json_text(value: object) -> str:
    """What a source gave as JSON text, for people: what JSON has no form for stands as a text.

    Never fails: of what is nested too deeply only that is said.
    """
    try:
        return json.dumps(_shown(value), ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, ValueError):
        return "(nested too deeply, or too long a number, to be shown)"


def _shown(value: object) -> object:
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case None | bool() | int() | str():
            return value
        case dict():
            return {str(key): _shown(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [_shown(item) for item in value]
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", errors="replace")
        case _:
            return str(value)


def _scalar(value: object) -> str | float:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case _:
            raise UnreadableError(f"a value of type {type(value).__name__}")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError(decode_problem(error)) from error
