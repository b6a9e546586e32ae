"""What makes two searches the same: the name under which an answer is kept. Pure."""

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NewType

import orjson

from media_gateway.core.errors import FieldError, InvalidInputError

KEY_VERSION = 2
"""Raised when bytes kept by an older release must not be given out any more, because answers have another shape."""

_PLAIN = (str, int)
_COLLECTIONS = (list, tuple, set, frozenset)
_NOTHING: tuple[Any, ...] = (None, [], {})

CacheKey = NewType("CacheKey", str)
"""``search:{version}:{SHA-256 in hexadecimal}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSearch:
    """Everything an answer depends on.

    Attributes
    ----------
    query : str
        As the person wrote it; compared as `normalised_query`.
    filters : Mapping[str, Any]
        Those in force, the profile's limits among them. Lists (tuples, sets) are sets: their order and repetitions
        don't matter. None and what is empty ask nothing, as if they were not there.
    user_id : str | None
        Whose order of results it is; None for everybody without an identity.
    ranking_version : str
        Version of the ranking configuration.
    generation : str
        `CatalogueGeneration.current`, read before the search begins.
    """

    query: str
    page: int
    page_size: int
    ranking_version: str
    generation: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None
    explain: bool = False
    user_id: str | None = None


def search_key(asked: AskedSearch) -> CacheKey:
    """The key of a search's answer: equal for searches that must give the same bytes, different for all others.

    The digest is over one JSON object with a member for each part, its names sorted, so no text of one part can be taken
    for another part.

    Raises
    ------
    InvalidInputError
        A part can't be written as JSON (a lone surrogate, NaN); the error names it.
    """
    parts = {
        "query": normalised_query(asked.query),
        "filters": _canonical(asked.filters, "filters"),
        "page": asked.page,
        "page_size": asked.page_size,
        "variant": asked.variant,
        "explain": asked.explain,
        # Somebody may be called "anon".
        "user_id": "anon" if asked.user_id is None else f"user:{asked.user_id}",
        "ranking_version": asked.ranking_version,
        "generation": asked.generation,
    }
    try:
        document = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        for name, value in parts.items():
            _json(value, name)
        raise
    return CacheKey(f"search:{KEY_VERSION}:{sha256(document).hexdigest()}")


def normalised_query(text: str) -> str:
    """The text as it is compared: NFKC, case folded, trimmed, every run of white space one space.

    Search for this text, not for the one that was sent: what has one key must have one answer.
    """
    # Folding can undo the composition (U+0390), hence the second time (Unicode standard, section 3.13, D146).
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _canonical(value: Any, path: str) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _COLLECTIONS):
        if all(type(member) is str for member in value):
            return sorted(set(value))
        # By their JSON, since 1 and True are one member of a Python set.
        distinct = {_json(member, path): member for member in (_canonical(member, path) for member in value)}
        return [distinct[document] for document in sorted(distinct)]
    if isinstance(value, Mapping):
        members = {name: _canonical(member, f"{path}.{name}") for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in _NOTHING}
    if isinstance(value, float) and not math.isfinite(value):
        # JSON would write null, as for a filter that asks nothing.
        raise _invalid(path, "must be a finite number")
    return value


def _json(value: Any, path: str) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        if isinstance(value, dict):
            for name, member in value.items():
                _json(member, f"{path}.{name}")
        raise _invalid(path, "must be plain JSON values and valid Unicode text") from error


def _invalid(name: str, message: str) -> InvalidInputError:
    return InvalidInputError(f"{name} {message}", errors=[FieldError(name, message)])
