"""What can be suggested and how much it weighs: one entry for each title of a content, each person, each genre.

Kept by the one thread that writes; used by the suggestions only. Entries have numbers; what readers see of them by number is
in `Shown`.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self
from uuid import UUID
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.suggestions.beginnings import NewBeginnings, Place
from media_gateway.discovery.text_index.analysis import fold, last_names
from media_gateway.discovery.text_index.schema import GENRE_WORDS

GONE = -1.0
"""Weight of an entry that no content has any more."""

CONTENT_WEIGHT = 0.05
"""What each content adds to a person or genre besides its popularity, so that many unknown ones count too."""

_MILLION = 1_000_000
_SHORTNESS = 4e-7
"""Most that being short adds to a weight: less than the last digit of a popularity, so it parts equals only."""

_FIRST = UUID(int=0)


class Kind(StrEnum):
    """What is suggested."""

    TITLE = "title"
    PERSON = "person"
    GENRE = "genre"


class TitleOf(NamedTuple):
    """Whose title an entry is; ``main`` is that content's main title, if this is another one."""

    content_id: UUID
    main: str | None
    release_year: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What readers see of the entries, by number; ``titles_of`` is None for people and genres.

    Numbers in use keep their meaning, so readers need no lock.
    """

    kinds: list[Kind] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    titles_of: list[TitleOf | None] = field(default_factory=list)

    def copy(self) -> Self:
        """The same in lists of its own."""
        return type(self)(list(self.kinds), list(self.texts), list(self.titles_of))


class Entries:
    """Counts which contents stand behind each entry.

    Attributes
    ----------
    shown : Shown
        What readers see.
    abandoned : int
        Entries that are gone and whose numbers are not free yet.
    """

    def __init__(self) -> None:
        self.shown = Shown()
        self.abandoned = 0
        self._is_title = bytearray()
        self._contents = array("q")
        self._popularity = array("q")  # in millionths: sums of floats would depend on the order of changes
        self._tie_breaks = array("d")
        self._shared: dict[Kind, dict[str, int]] = {Kind.PERSON: {}, Kind.GENRE: {}}
        self._of_content: dict[UUID, tuple[int, ...]] = {}
        self._free: list[int] = []
        self._changed: set[int] = set()
        self._new_beginnings = NewBeginnings()

    def put(self, content: IndexedContent) -> None:
        """Count a content, in place of what was counted under its id."""
        popularity = round(min(1.0, max(0.0, content.popularity_score or 0.0)) * _MILLION)
        old_popularity, *old = self._of_content.get(content.content_id, (0,))
        new = [*self._titles(content, old), *self._people(content), *self._genres(content)]
        self._of_content[content.content_id] = (popularity, *new)
        # The new first: what both have is never without a content in between.
        self._count(new, 1, popularity)
        self._count(old, -1, -old_popularity)

    def drop(self, content_id: UUID) -> None:
        """Count a content no more."""
        popularity, *old = self._of_content.pop(content_id, (0,))
        self._count(old, -1, -popularity)

    def taken_beginnings(self) -> NewBeginnings:
        """Those of the entries that are new since the last call."""
        new, self._new_beginnings = self._new_beginnings, NewBeginnings()
        return new

    def weighed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """A copy of the weights with those set that changed since the last call.

        A title weighs as much as it is popular; a person or genre as all its contents together, brought to the scale 0 to 1
        by s / (s + 1).
        """
        fresh = np.full(len(self._contents), GONE)
        fresh[: len(weights)] = weights
        changed = np.fromiter(self._changed, dtype=np.int64, count=len(self._changed))
        self._changed.clear()
        contents = np.frombuffer(self._contents, np.int64)[changed]
        popularity = np.frombuffer(self._popularity, np.int64)[changed] / _MILLION
        together = popularity + CONTENT_WEIGHT * contents
        is_title = np.frombuffer(self._is_title, np.bool_)[changed]
        weight = np.where(is_title, popularity, together / (together + 1.0))
        weight += np.frombuffer(self._tie_breaks, np.float64)[changed]
        fresh[changed] = np.where(contents > 0, weight, GONE)
        return fresh

    def reuse(self, numbers: Iterable[int]) -> None:
        """Give numbers of entries that are gone, and have no beginnings left, to new ones."""
        # Who still reads of the time before keeps the lists of that time.
        self.shown = self.shown.copy()
        self._free = list(numbers)
        self.abandoned = 0

    def _titles(self, content: IndexedContent, old: Iterable[int]) -> list[int]:
        shown = self.shown
        there = {(shown.texts[number], shown.titles_of[number]): number for number in old}
        numbers = []
        for folded, title in {fold(title): title for title in reversed(content.titles)}.items():
            main = None if title == content.title else content.title
            title_of = TitleOf(content.content_id, main, content.release_year)
            number = there.get((title, title_of))
            if number is None:
                number = self._new(Kind.TITLE, title, title_of)
                self._new_beginnings.add_title(folded, number)
            numbers.append(number)
        return numbers

    def _people(self, content: IndexedContent) -> list[int]:
        known = self._shared[Kind.PERSON]
        numbers = []
        for name in dict.fromkeys(person.name for person in content.people):
            number = known.get(name)
            if number is None:
                number = known[name] = self._new(Kind.PERSON, name)
                folded = fold(name)
                self._new_beginnings.add_name(folded, number)
                for joined in last_names(folded)[1:]:
                    self._new_beginnings.add(joined, number, Place.INNER)
            numbers.append(number)
        return numbers

    def _genres(self, content: IndexedContent) -> list[int]:
        known = self._shared[Kind.GENRE]
        numbers = []
        for genre in dict.fromkeys(content.genres):
            text = genre.replace("_", " ").capitalize()
            number = known.get(text)
            if number is None:
                number = known[text] = self._new(Kind.GENRE, text)
                for words in (fold(text), *GENRE_WORDS.get(genre, ())):
                    self._new_beginnings.add_name(words, number)
            numbers.append(number)
        return numbers

    def _new(self, kind: Kind, text: str, title_of: TitleOf | None = None) -> int:
        shown = self.shown
        if not self._free:
            self._free.append(len(shown.texts))
            shown.kinds.append(kind)
            shown.texts.append(text)
            shown.titles_of.append(title_of)
            self._is_title.append(0)
            self._contents.append(0)
            self._popularity.append(0)
            self._tie_breaks.append(0.0)
        number = self._free.pop()
        shown.kinds[number], shown.texts[number], shown.titles_of[number] = kind, text, title_of
        self._is_title[number] = kind is Kind.TITLE
        self._tie_breaks[number] = _tie_break(text, title_of.content_id if title_of else _FIRST)
        return number

    def _count(self, numbers: Iterable[int], contents: int, popularity: int) -> None:
        for number in numbers:
            self._contents[number] += contents
            self._popularity[number] += popularity
            if not self._contents[number]:
                self.abandoned += 1
                if not self._is_title[number]:
                    del self._shared[self.shown.kinds[number]][self.shown.texts[number]]
        self._changed.update(numbers)


def _tie_break(text: str, content_id: UUID) -> float:
    """What parts equal weights, in each replica alike: the shorter text first, then by a checksum."""
    checksum = crc32(content_id.bytes, crc32(text.encode()))
    return _SHORTNESS * (1.0 - min(len(text), 255) / 256) + checksum * 2.0**-32 * 1e-9
