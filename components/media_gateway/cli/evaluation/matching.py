"""Which results are right answers: by id, or by title and year. Called by `asking`'s users once an answer is there.

Titles are compared in a form of their own, not in the search's: what is judged must not move with what judges it.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

YEAR_TOLERANCE = 1
"""Years by which a right answer's year may differ from the catalogue's: sources differ on festival and general release."""

_NOT_WORDS = re.compile(r"[\W_]+")
_APOSTROPHES = re.compile("['`\u2019\u2018\u00b4\u02bc]")
_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i", "&": " and "}
)
"""Latin letters that Unicode normalisation leaves whole, and the ampersand."""


@dataclass(frozen=True, slots=True)
class Relevant:
    """A right answer: named by id alone, or by title with or without a year. A higher grade is a better answer."""

    id: UUID | None
    title: str | None
    year: int | None
    grade: float = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """A result, as far as it takes part in judging."""

    id: UUID
    title: str
    year: int | None


def fold(title: str) -> str:
    """Lower case without accents, apostrophes and punctuation, words parted by one space.

    A title without letters and digits folds to itself, so that it still differs from others. Articles stay: "The
    Alamo" and "Alamo" may be two films.
    """
    plain = unicodedata.normalize("NFKC", title).casefold()
    parted = unicodedata.normalize("NFKD", plain)
    letters = "".join(c for c in parted if not unicodedata.combining(c)).translate(_UNDECOMPOSED)
    text = unicodedata.normalize("NFKC", letters)
    words = _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", text)).strip()
    return words or plain.strip()


def gains_of(results: Sequence[Result], relevant: Sequence[Relevant]) -> list[float]:
    """The gain of each result: the grade of the right answer that it is, else 0.

    A right answer is given once, to the first result that is it. With an id only that id is it. Otherwise a result of
    the same folded title and year comes first; where there is none, one whose year differs by `YEAR_TOLERANCE` at most.
    Without a year the title suffices. A result that an answer repeats is wrong from its second place on.
    """
    gains = [0.0] * len(results)
    by_id: dict[UUID, int] = {}
    by_title: dict[str, list[int]] = {}
    for place, result in enumerate(results):
        if result.id not in by_id:
            by_id[result.id] = place
            by_title.setdefault(fold(result.title), []).append(place)
    taken: set[int] = set()
    # Best grades first: what is certain of a better answer is not given away to a lesser one. Then those that fit fewest
    # results, by an order of their own, so that the order in which they were written down changes nothing.
    waiting = sorted(
        relevant, key=lambda one: (-one.grade, one.id is None, one.year is None, one.year or 0, str(one.id))
    )
    for tolerance in (0, YEAR_TOLERANCE):
        left: list[Relevant] = []
        for one in waiting:
            places = _places(one, by_id, by_title)
            found = _first(places, results, one.year, tolerance, taken)
            if found is None:
                left.append(one)
            else:
                taken.add(found)
                gains[found] = one.grade
        waiting = left
    return gains


def _places(one: Relevant, by_id: dict[UUID, int], by_title: dict[str, list[int]]) -> Sequence[int]:
    if one.id is not None:
        return (by_id[one.id],) if one.id in by_id else ()
    return by_title.get(fold(one.title or ""), ())


def _first(
    places: Iterable[int], results: Sequence[Result], year: int | None, tolerance: int, taken: set[int]
) -> int | None:
    for place in places:
        there = results[place].year
        near = year is None or (there is not None and abs(there - year) <= tolerance)
        if near and place not in taken:
            return place
    return None
