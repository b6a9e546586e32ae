"""JSON read strictly: no key twice, no NaN, whatever the nesting; shared by the JSON formats and message sources."""

import json
import math
from typing import Any, NoReturn, Self

from media_gateway.ingestion.formats.lines import decode_problem
from media_gateway.ingestion.formats.parsed import UnreadableError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Which value of a repeated key is meant can't be known (RFC 8259 section 4).
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise UnreadableError(f"the key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return result


def _constant(name: str) -> NoReturn:
    raise UnreadableError(f"{name} is not JSON")


class LargeNumber(float):
    """A number beyond the range of floats (``1e400``): infinite to arithmetic, to people what the source wrote."""

    def __new__(cls, text: str) -> Self:
        """A number from its digits."""
        made = super().__new__(cls, text)
        made._text = text
        return made

    _text: str

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else LargeNumber(text)


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)


def parse_value(data: bytes) -> Any:
    """Any JSON value.

    Raises
    ------
    UnreadableError
        It is not UTF-8 or not JSON.
    """
    try:
        return DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UnreadableError(decode_problem(error)) from error
    except json.JSONDecodeError as error:
        raise UnreadableError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise UnreadableError("nested too deeply") from error
    except UnreadableError:
        raise
    except ValueError as error:  # a number of more digits than Python converts
        raise UnreadableError(f"not usable JSON: {error}") from error


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    UnreadableError
        It is not UTF-8, not JSON, or not an object.
    """
    return require_object(parse_value(data))


def require_object(value: Any) -> dict[str, Any]:
    """The value, if it is an object.

    Raises
    ------
    UnreadableError
        It is something else.
    """
    if isinstance(value, dict):
        return value
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    raise UnreadableError(f"not an object but {names.get(type(value), 'a number')}")
