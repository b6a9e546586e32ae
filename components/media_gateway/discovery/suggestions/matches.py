"""Which entries match what was typed, class by class, the best class first. Used by the suggestions only.

Pure functions over one `State`: whoever reads sees one moment of the catalogue, whatever is written meanwhile. Classes are
worked out one at a time, so that what fills the answer early costs little.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from media_gateway.discovery.suggestions.beginnings import WIDTH, Place
from media_gateway.discovery.suggestions.state import Numbers, State
from media_gateway.discovery.suggestions.typos import LONGEST, prefix_errors
from media_gateway.discovery.text_index.analysis import allowed_typos, fold, loose, without_article

COMPARED = 100
"""Most entries of a class that are compared with all of a long text, the best first: half a millisecond's work."""

WORDS_CORRECTED = 3
"""Words of the catalogue that may all be taken for mistyped because no entry has them together."""

_NONE: Numbers = np.zeros(0, dtype=np.int32)


class MatchedBy(StrEnum):
    """How an entry was found."""

    PREFIX = "prefix"
    WORD = "word"
    TYPO = "typo"


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed: folded, its distinct words, without its article, and that without spaces."""

    key: str
    words: tuple[str, ...]
    bare: str
    joined: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Take apart what was typed."""
        key = fold(text)
        return cls(key, tuple(dict.fromkeys(key.split())), without_article(key), loose(key))

    @property
    def is_long(self) -> bool:
        """Whether beginnings are kept too short to compare them with all of it."""
        return len(self.key.encode()) >= WIDTH

    @property
    def to_check(self) -> Self | None:
        """Itself, if whatever its start was found in must be compared with all of it."""
        return self if self.is_long else None

    def is_held_by(self, folded: str) -> bool:
        """Whether a title or name starts with it, or has a word for each of its words."""
        if loose(folded).startswith(self.joined):
            return True
        runs = runs_of(folded)
        return all(any(run.startswith(word) for run in runs) for word in self.words)


class Found(NamedTuple):
    """Entries of one class; those that do not hold ``typed`` entirely are none of it."""

    matched_by: MatchedBy
    numbers: Numbers
    typed: Typed | None = None


def pieces(state: State, typed: Typed) -> Iterator[Found]:
    """Entries that hold what was typed in one piece: those that are it, start with it, have it at a later word."""
    starts = _starts(state, typed)
    for whole in _wholes(state, typed, np.concatenate(starts)):
        yield Found(MatchedBy.PREFIX, whole)
    for start in starts:
        yield Found(MatchedBy.PREFIX, start, typed.to_check)
    yield Found(MatchedBy.PREFIX, _joined(state, typed), typed.to_check)
    yield Found(MatchedBy.WORD, state.starting_with(typed.key, Place.INNER), typed.to_check)


def word_by_word(state: State, typed: Typed) -> Iterator[Found]:
    """Entries that have a word for each of several words."""
    if len(typed.words) > 1:
        by_word = [state.starting_with(word) for word in typed.words]
        yield Found(MatchedBy.WORD, state.in_all(by_word), typed.to_check)


def mistyped(state: State, typed: Typed) -> Iterator[Found]:
    """Entries that hold what was typed but for an error, then but for two: in all of it or in single words."""
    first, _, rest = typed.key.partition(" ")
    if rest and is_mistyped_article(first):
        for found in pieces(state, Typed.of(rest)):
            yield found._replace(matched_by=MatchedBy.TYPO)
    typos = allowed_typos(typed.joined)
    if not typos:
        return
    near, errors = state.nearly_starting_with(typed.joined, typos)
    if len(typed.joined.encode()) > LONGEST:
        near, errors = _whole_near(state, typed.joined, near, typos)
    by_word: list[tuple[Numbers, NDArray[np.uint8]]] | None = None
    for most in range(1, typos + 1):
        yield Found(MatchedBy.TYPO, near[errors <= most])
        by_word = _near_by_word(state, typed) if by_word is None else by_word
        if by_word:
            choices = [numbers[wrong <= most] for numbers, wrong in by_word]
            yield Found(MatchedBy.TYPO, state.in_all(choices))


def runs_of(folded: str) -> list[str]:
    """A folded text from each of its words on, without spaces."""
    words = folded.split()
    return ["".join(words[at:]) for at in range(len(words))]


def whole_of(state: State, typed: Typed) -> int | None:
    """The most popular entry that is what was typed, but for article and spaces."""
    starts = (*_starts(state, typed), _joined(state, typed)) if typed.is_long else (_NONE,)
    for start in starts if typed.words else ():
        for whole in _wholes(state, typed, start):
            for number in state.best_first(whole, 1):
                return number
    return None


def is_mistyped_article(word: str) -> bool:
    """Whether it is the one article long enough to be mistyped, with an error."""
    return OSA.distance(word, "the", score_cutoff=1) == 1


def _starts(state: State, typed: Typed) -> list[Numbers]:
    """Entries that start with what was typed, then those that start with it without its article."""
    starts = [
        state.starting_with(key, Place.WHOLE, Place.BARE) for key in dict.fromkeys((typed.key, typed.bare))
    ]
    if not typed.is_long:
        return starts
    by_word = [state.starting_with(word) for word in typed.words]
    return [state.in_all([start, *by_word]) for start in starts]


def _joined(state: State, typed: Typed) -> Numbers:
    """Entries that start with what was typed when neither has spaces."""
    return state.starting_with(typed.joined, Place.WHOLE, Place.BARE, Place.JOINED)


def _wholes(state: State, typed: Typed, starts: Numbers) -> Iterator[Numbers]:
    """Entries that are what was typed, then those that are but for article and spaces.

    Beginnings are kept long enough to see it of short ones; of long ones, those in ``starts`` are compared.
    """
    if not typed.is_long:
        yield state.equal_to(typed.key, Place.WHOLE)
        if typed.joined != typed.bare:
            yield state.equal_to(typed.bare, Place.WHOLE, Place.BARE)
        yield state.equal_to(typed.joined, Place.WHOLE, Place.BARE, Place.JOINED)
        return
    numbers = islice(state.best_first(starts, COMPARED), COMPARED)
    folded = {number: fold(state.shown.texts[number]) for number in numbers}
    for wholes in (
        [number for number, key in folded.items() if key == typed.key],
        [number for number, key in folded.items() if loose(key) == typed.joined],
    ):
        yield np.array(wholes, dtype=np.int32)


def _whole_near(state: State, joined: str, near: Numbers, typos: int) -> tuple[Numbers, NDArray[np.uint8]]:
    """Those of which also the rest is near, and the errors in all of it."""
    numbers = list(islice(state.best_first(near, COMPARED), COMPARED))
    errors = [
        min(
            (prefix_errors(joined, run, typos) for run in runs_of(fold(state.shown.texts[number]))), default=9
        )
        for number in numbers
    ]
    return np.array(numbers, dtype=np.int32), np.array(errors, dtype=np.uint8)


def _near_by_word(state: State, typed: Typed) -> list[tuple[Numbers, NDArray[np.uint8]]]:
    """For each of several words, entries with a word that starts with it, or nearly so if it is taken for mistyped.

    Mistyped are those that start no word of the catalogue; if all do, perhaps any of a few.
    """
    if len(typed.words) < 2:
        return []
    exact = {word: state.starting_with(word) for word in typed.words}
    unknown = {word for word, numbers in exact.items() if not len(numbers)}
    if not all(allowed_typos(word) for word in unknown):
        return []
    if not unknown and len(exact) <= WORDS_CORRECTED:
        unknown = {word for word in exact if allowed_typos(word)}
    if not unknown:
        return []
    return [
        state.nearly_starting_with(word, allowed_typos(word))
        if word in unknown
        else (numbers, np.zeros(len(numbers), dtype=np.uint8))
        for word, numbers in exact.items()
    ]
