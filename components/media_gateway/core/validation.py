"""Pydantic's findings in our words, the same in settings, manifests and requests.

Called by whoever turns a ``ValidationError`` into an error of ours. No input is repeated, and no word of pydantic's own
types appears.
"""

from collections.abc import Mapping
from typing import Any

_CLEARER = {"extra_forbidden": "unknown field", "missing": "required"}


def message_of(problem: Mapping[str, Any]) -> str:
    """What is wrong, from one entry of ``ValidationError.errors()``; it begins in lower case, to follow a field's name."""
    clearer = _CLEARER.get(str(problem["type"]))
    if clearer is not None:
        return clearer
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    # An abbreviation (JSON, URL) keeps its capitals.
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]
