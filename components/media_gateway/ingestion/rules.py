"""Compiles the rules of a mapping to functions. Used by `mapping` only."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from media_gateway.core.domain.specs import FieldRule
from media_gateway.core.errors import InvalidInputError
from media_gateway.ingestion.transforms import SPLIT, TRANSFORMS, number_of

Getter = Callable[[Any], Any]

_PLAIN_PATH = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
_QUOTED_NAME = re.compile(r'^"([^"\\]+)"$')


class RuleError(ValueError):
    """A value does not fit its rule; the message says why."""


def compile_path(path: str, where: str) -> Getter:
    """A function that finds a JMESPath in a payload.

    Raises
    ------
    InvalidInputError
        It is no JMESPath; ``where`` names it.
    """
    if (quoted := _QUOTED_NAME.match(path)) is not None:
        return walk((quoted[1],))
    if _PLAIN_PATH.match(path):
        return walk(tuple(path.split(".")))
    try:
        search = jmespath.compile(path).search
    except JMESPathError as error:
        raise InvalidInputError(f"{where}: not a JMESPath: {error}") from error

    def find(payload: Any) -> Any:
        try:
            return search(payload)
        except (JMESPathError, TypeError, AttributeError) as error:
            # Functions of JMESPath are strict about types: sum() of texts, for example.
            raise RuleError(f"the path does not fit: {error}") from error

    return find


def walk(names: tuple[str, ...]) -> Getter:
    """A function that looks names up one in the other; None where there is none."""
    if len(names) == 1:
        name = names[0]
        return lambda payload: payload.get(name) if isinstance(payload, dict) else None

    def find(payload: Any) -> Any:
        for name in names:
            if not isinstance(payload, dict):
                return None
            payload = payload.get(name)
        return payload

    return find


def compile_rule(rule: FieldRule, where: str) -> Getter:
    """A function that computes a field of a payload; None for "not said". It raises `RuleError`."""
    if rule.path is None:
        constant = rule.value
        return lambda _payload: constant
    find = compile_path(rule.path, f"{where}.path")
    steps = _steps(rule)
    default = rule.default

    def compute(payload: Any) -> Any:
        value = find(payload)
        if value is None or value == "":
            return default
        try:
            for step in steps:
                value = step(value)
                if value is None:
                    return default
        except (ValueError, TypeError, OverflowError) as error:
            raise RuleError(str(error)) from error
        return value

    return compute


def _steps(rule: FieldRule) -> list[Getter]:
    steps: list[Getter] = []
    if rule.transform in SPLIT:
        separator = rule.separator
        steps.append(lambda value: _split(value, separator))
    if rule.table:
        table = {key.lower(): value for key, value in rule.table.items()}
        steps.append(lambda value: _looked_up(value, table))
    if rule.transform is not None:
        steps.append(TRANSFORMS[rule.transform])
    if rule.factor is not None:
        factor = Decimal(rule.factor)
        steps.append(lambda value: number_of(value) * factor)
    if rule.prefix:
        prefix = rule.prefix
        steps.append(lambda value: _prefixed(prefix, value))
    return steps


def _split(value: Any, separator: str) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(separator) if part.strip()]
    if isinstance(value, list | tuple):
        return [item for item in value if item is not None and item != ""]
    raise ValueError("neither a list nor a text")


def _looked_up(value: Any, table: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_looked_up(item, table) for item in value]
    # JSON's true, as a source writes it, not Python's True.
    key = str(value).lower() if isinstance(value, str | int) else None
    return value if key is None else table.get(key, value)


def _prefixed(prefix: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - one kind of error for bad values
    return prefix + value
