"""Texts of records: characters that no title holds are refused, white space is made plain. Used by `mapping` only."""

import re
from typing import Any

import orjson

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_SUSPECT = re.compile(rb"\\[bfnrtu]|\x7f|\xc2[\x80-\x9f]")
_BREAKS = re.compile("[\t\n\r]")


class UnusableTextError(ValueError):
    """A text holds what can't be stored or shown.

    Attributes
    ----------
    field : str
        Dotted path of the text.
    reason : str
        The character.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def cleaned(record: dict[str, Any]) -> dict[str, Any]:
    """The record with all its texts checked; tabs and line breaks are kept in the overview and spaces elsewhere.

    Raises
    ------
    UnusableTextError
        Control characters (C0 and C1, which are what a wrong encoding looks like) or lone surrogates.
    """
    try:
        # One look at the whole record in its JSON form instead of one at each of a hundred texts. It finds too much (an
        # escaped backslash), never too little; then, and where there is no JSON form, every text is looked at.
        if _SUSPECT.search(orjson.dumps(record, default=str)) is None:
            return record
    except TypeError:
        pass
    return {name: _value(value, name) for name, value in record.items()}


def _value(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else _text(value, path)
    if isinstance(value, dict):
        return {_key(key, path): _value(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, f"{path}.{number}") for number, item in enumerate(value)]
    return value


def _key(key: Any, path: str) -> Any:
    return key if not isinstance(key, str) or key.isprintable() else _text(key, f"{path} (key)")


def _text(value: str, path: str) -> str:
    match = _FORBIDDEN.search(value)
    if match is not None:
        code = ord(match[0])
        kind = "half of a surrogate pair" if code >= 0xD800 else "a control character"
        raise UnusableTextError(path, f"holds {kind} (U+{code:04X}) at position {match.start() + 1}")
    return value if path == "overview" else _BREAKS.sub(" ", value)


def shortened(text: str, length: int) -> str:
    """The text cut at a word to at most ``length`` characters, ending in an ellipsis."""
    head = text[: length - 1]
    word_end = head.rfind(" ")
    # A text without spaces (Japanese, or rubbish) is cut where it must be.
    return (head[:word_end] if word_end > length // 2 else head).rstrip(" ,;:") + "…"
