"""What a mapping rule can do with a value. Used by `mapping` only.

Every function takes a source's value that is not empty and gives a canonical one, ``None`` for "not said", or raises
`ValueError` with the reason.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz, process

from media_gateway.core.domain.content import Genre
from media_gateway.core.domain.specs import Transform
from media_gateway.ingestion.presets import vocabulary

GENRE_SIMILARITY = 0.8
"""A word more similar than this (Indel ratio) to a genre's name is taken for it: typing errors and endings pass, other
words don't."""

POPULARITY_FULL = 1000.0
"""An open-ended popularity from which on a work counts as fully popular; TMDb's most looked-at titles are there."""

MILLISECONDS_FROM = 100_000_000_000
"""A number above this is a time in milliseconds: in seconds it would lie beyond the year 5138."""

_GENRE_NAMES = {genre.value.replace("_", " "): genre.value for genre in Genre}
_DURATION = re.compile(
    r"^(?:PT)?(?:(?P<h>\d{1,3})\s*h(?:ours?|rs?)?)?\s*(?:(?P<m>\d{1,5})\s*m(?:in(?:utes?|s)?)?\.?)?(?:\d+s)?$",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(r"^([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)$")


@dataclass(frozen=True, slots=True)
class MappedGenres:
    """Canonical genres, and the source's words that are none."""

    genres: tuple[str, ...]
    rest: tuple[str, ...]


def number_of(value: Any) -> Decimal:
    """A number, exactly: texts and floats by their decimal digits, never by binary arithmetic."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"not a number: {_shown(value)}")  # noqa: TRY004 - one kind of error for bad values
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"not a number: {_shown(value)}") from None
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise ValueError(f"not a usable number: {_shown(value)}")
    return number


def integer(value: Any) -> int:
    """A whole number."""
    number = number_of(value)
    if number != number.to_integral_value():
        raise ValueError(f"not a whole number: {_shown(value)}")
    return int(number)


def last_number(value: Any) -> int:
    """The number a text ends in (603 of ``movie/603``)."""
    match = re.search(r"(\d{1,18})$", _text(value))
    if match is None:
        raise ValueError(f"no number at the end of {_shown(value)}")
    return int(match[1])


def price(value: Any) -> Decimal:
    """An amount of money in major units; the mapper makes minor units of it when it knows the currency."""
    amount = number_of(value)
    if amount < 0:
        raise ValueError(f"a price below zero: {_shown(value)}")
    return amount


def minutes(value: Any) -> int | None:
    """Minutes from a number, ``142 min``, ``2h 22m`` or ISO 8601 ``PT2H22M``; 0 is what APIs say for "unknown"."""
    if isinstance(value, str) and (match := _DURATION.match(value.strip())) and any(match.groups()):
        total = int(match["h"] or 0) * 60 + int(match["m"] or 0)
    else:
        total = round(number_of(value))
    return total or None


def seconds(value: Any) -> int | None:
    """Minutes, rounded, from seconds."""
    return round(number_of(value) / 60) or None


def popularity(value: Any) -> float:
    """An open-ended popularity p as log(1 + p) / log(1 + `POPULARITY_FULL`), at most 1: its ranks are kept, its tail is not."""
    number = max(0.0, float(number_of(value)))
    return round(min(1.0, math.log1p(number) / math.log1p(POPULARITY_FULL)), 4)


def year(value: Any) -> int:
    """The year of a number, a date, or a text that begins with one."""
    match = re.match(r"^(\d{4})(?:\D|$)", str(value).strip())
    if match is None:
        raise ValueError(f"no year in {_shown(value)}")
    return int(match[1])


def day(value: Any) -> date:
    """A day from an ISO 8601 date or time, or a time in seconds or milliseconds since 1970."""
    if isinstance(value, str) and len(value.strip()) == 10:
        return date.fromisoformat(value.strip())
    return moment(value).date()


def moment(value: Any) -> datetime:
    """A moment in UTC from ISO 8601 (without a zone: UTC) or seconds or milliseconds since 1970."""
    if isinstance(value, str) and not value.strip().isdecimal():
        found = datetime.fromisoformat(value.strip())
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    number = number_of(value)
    try:
        return datetime.fromtimestamp(float(number / 1000 if number > MILLISECONDS_FROM else number), UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"not a time: {_shown(value)}") from None


def language(value: Any) -> str:
    """BCP 47 from a tag, an ISO 639-2 code or an English name; ``mis`` (ISO 639-2: uncoded) for other names."""
    return _language(_text(value))


def languages(value: Any) -> tuple[str, ...]:
    """Languages of a list."""
    return tuple(dict.fromkeys(map(language, value if isinstance(value, list | tuple) else [value])))


@lru_cache(4096)
def _language(text: str) -> str:
    known = vocabulary("languages").get(text.lower())
    if known is not None:
        return str(known)
    if match := _LANGUAGE.match(text):
        primary = match[1].lower()
        if len(primary) == 2 or match[2]:
            return primary + match[2].replace("_", "-")
        return primary
    if any(c.isdecimal() or c in "<>{}[]|/\\@#$%&*=+?!" for c in text):
        raise ValueError(f"not a language: {_shown(text)}")
    return "mis"


def country(value: Any) -> str:
    """ISO 3166-1 alpha-2 from a code or an English name; a name that is not known stays as it is."""
    text = _text(value)
    return str(vocabulary("countries").get(text.lower()) or (text.upper() if len(text) == 2 else text))


def countries(value: Any) -> tuple[str, ...]:
    """Countries of a list."""
    return tuple(dict.fromkeys(map(country, value if isinstance(value, list | tuple) else [value])))


def genres(value: Any) -> MappedGenres:
    """Canonical genres by vocabulary, then by similarity; the rest becomes keywords."""
    found: list[str] = []
    rest: list[str] = []
    for word in value if isinstance(value, list | tuple) else [value]:
        matches = _genre(_text(word))
        found.extend(matches)
        if not matches:
            rest.append(_text(word))
    return MappedGenres(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(rest)))


@lru_cache(4096)
def _genre(text: str) -> tuple[str, ...]:
    word = text.lower().replace("_", " ")
    if word in _GENRE_NAMES:
        return (_GENRE_NAMES[word],)
    known = vocabulary("genres").get(word)
    if known is not None:
        return tuple(known)
    near = process.extractOne(
        word, _GENRE_NAMES.keys(), scorer=fuzz.ratio, score_cutoff=GENRE_SIMILARITY * 100
    )
    if near is None or near[1] <= GENRE_SIMILARITY * 100:
        return ()
    return (_GENRE_NAMES[near[0]],)


def platform(value: Any) -> str:
    """Slug of a platform by vocabulary, else of the letters and digits of its name."""
    text = _text(value)
    known = vocabulary("platforms").get(text.lower())
    slug = known or re.sub(r"[^a-z0-9]+", "_", text.lower().replace("+", " plus")).strip("_")
    if not slug:
        raise ValueError(f"no platform: {_shown(value)}")
    return str(slug)


def content_type(value: Any) -> str:
    """Kind of work by vocabulary; another word stays as it is (and is then refused by the model)."""
    text = _text(value)
    return str(vocabulary("content_types").get(text.lower(), text))


def maturity(value: Any) -> str | None:
    """MPA or US TV rating by vocabulary; ratings of other systems have no place in the model: not said."""
    found = vocabulary("maturity_ratings").get(_text(value).lower())
    return None if found is None else str(found)


def parsed_json(value: Any) -> Any:
    """What a text holds as JSON; other values as they are (databases differ in what they give)."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"not a text: {_shown(value)}")  # noqa: TRY004 - one kind of error for bad values
    return str(value).strip()


def _shown(value: Any) -> str:
    return ascii(value)[:80]


def _same(value: Any) -> Any:
    return value


TRANSFORMS: dict[Transform, Callable[[Any], Any]] = {
    "content_type": content_type,
    "countries": countries,
    "country": country,
    "date": day,
    "datetime": moment,
    "genres": genres,
    "integer": integer,
    "json": parsed_json,
    "language": language,
    "languages": languages,
    "last_number": last_number,
    "list": _same,
    "maturity": maturity,
    "minutes": minutes,
    "number": number_of,
    "platform": platform,
    "popularity": popularity,
    "price": price,
    "seconds": seconds,
    "year": year,
}
"""By name. ``list`` only splits, which the mapper does for all of `SPLIT` before the transform."""

SPLIT: frozenset[Transform] = frozenset({"countries", "genres", "languages", "list"})
"""Transforms that take lists: a text is split at the rule's separator first."""
