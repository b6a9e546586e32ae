"""Suggestions while somebody types: contents in, titles, people and genres out. In memory, one a process.

Written by the index feed's single writer thread, read by requests at the same time; every read is of one commit. Must not
read the database or the bus.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

import numpy as np
from prometheus_client import Histogram

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.suggestions.beginnings import Beginnings, NewBeginnings
from media_gateway.discovery.suggestions.entries import GONE, Entries, Kind
from media_gateway.discovery.suggestions.matches import (
    COMPARED,
    Found,
    MatchedBy,
    Typed,
    mistyped,
    pieces,
    word_by_word,
)
from media_gateway.discovery.suggestions.state import State
from media_gateway.discovery.text_index.analysis import fold

ENOUGH = 3
"""Suggestions that hold what was typed from which on nothing mistyped is looked for."""

PART_RATIO = 16
"""How much larger a part of the beginnings must be than the one after it, so that a commit copies few and a look-up asks
few parts (a log-structured merge tree: O'Neil et al. 1996)."""

SMALL_PART = 4_096
"""Beginnings that are merged in less time than it takes to ask one part more."""

GONE_SHARE = 8
"""One entry in so many may be gone before its number and its beginnings are freed."""

_seconds = Histogram(
    "mgw_autocomplete_duration_seconds",
    "Time of an autocompletion, without HTTP",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What the typed text may become.

    Attributes
    ----------
    text : str
        For people to read and to search for; another title of a content is followed by the main one.
    content_id, release_year
        Of the content, if it is a title.
    """

    text: str
    kind: Kind
    matched_by: MatchedBy
    content_id: UUID | None = None
    release_year: int | None = None


class Suggestions:
    """Titles, people and genres of the catalogue by what their words begin with.

    Writes (`apply`, `commit`) come from one thread at a time; reads from any number beside them. A reader sees the state of
    the last `commit`.
    """

    def __init__(self) -> None:
        self._entries = Entries()
        self._writing = threading.Lock()
        self._state = State((Beginnings.of(NewBeginnings()),), np.zeros(0), self._entries.shown)

    @property
    def state(self) -> State:
        """What the last commit left, to look things up in."""
        return self._state

    def apply(self, contents: Sequence[IndexedContent], removed: Sequence[UUID] = ()) -> None:
        """Put contents in, in place of what was there under their ids, and take others out. Seen after `commit`."""
        with self._writing:
            for content in contents:
                self._entries.put(content)
            for content_id in removed:
                self._entries.drop(content_id)

    def commit(self) -> None:
        """Let readers see what was applied."""
        with self._writing:
            entries = self._entries
            weights = entries.weighed(self._state.weights)
            there = weights > GONE
            parts = [*self._state.parts, Beginnings.of(entries.taken_beginnings())]
            merged = _to_merge([len(part) for part in parts])
            too_many_gone = entries.abandoned * GONE_SHARE > len(weights)
            if merged == len(parts) or too_many_gone:
                parts = [Beginnings.merged(parts, there)]
                entries.reuse(np.flatnonzero(~there).tolist())
            elif merged > 1:
                parts[-merged:] = [Beginnings.merged(parts[-merged:], there)]
            filled = tuple(part for part in parts if len(part))
            self._state = State(filled or tuple(parts[:1]), weights, entries.shown)

    def suggest(self, text: str, limit: int) -> list[Suggestion]:
        """At most so many suggestions for what was typed, best first; every string is accepted.

        First come titles and names that are it, then those that start with it, then those with it at a later word, then
        those that have each of its words; in each class by popularity. Typing errors are looked for if nothing has it in
        one piece and fewer than `ENOUGH` have its words; of those with the fewest errors.
        """
        started = time.perf_counter()
        typed = Typed.of(text)
        answer = _Answer(self._state, limit)
        if typed.words:
            in_one_piece = answer.fill(pieces(answer.state, typed))
            by_words = answer.fill(word_by_word(answer.state, typed))
            if not in_one_piece and by_words < ENOUGH:
                for found in mistyped(answer.state, typed):
                    if answer.fill([found]):
                        break
        _seconds.observe(time.perf_counter() - started)
        return answer.suggestions


def _to_merge(sizes: Sequence[int]) -> int:
    """How many of the last parts are to become one."""
    count, together = 1, sizes[-1]
    for size in reversed(sizes[:-1]):
        if together * PART_RATIO <= size and together + size > SMALL_PART:
            break
        count, together = count + 1, together + size
    return count


class _Answer:
    """Collects suggestions until there are enough, nothing twice."""

    def __init__(self, state: State, limit: int) -> None:
        self.state = state
        self.suggestions: list[Suggestion] = []
        self._limit = limit
        self._numbers: set[int] = set()
        self._given: set[object] = set()

    def fill(self, classes: Iterable[Found]) -> int:
        """Take what is new, class by class; how many were taken."""
        before = len(self.suggestions)
        for found in classes:
            for number in self._candidates(found):
                if len(self.suggestions) == self._limit:
                    return len(self.suggestions) - before
                if number not in self._numbers:
                    self._numbers.add(number)
                    self._add(number, found.matched_by)
        return len(self.suggestions) - before

    def _candidates(self, found: Found) -> Iterator[int]:
        numbers, typed = self.state.best_first(found.numbers, 4 * self._limit), found.typed
        if typed is None:
            return numbers
        texts = self.state.shown.texts
        return (number for number in islice(numbers, COMPARED) if typed.is_held_by(fold(texts[number])))

    def _add(self, number: int, matched_by: MatchedBy) -> None:
        shown = self.state.shown
        kind, text, title_of = shown.kinds[number], shown.texts[number], shown.titles_of[number]
        content_id, main, year = title_of or (None, None, None)
        text = f"{text} ({main})" if main else text
        # One content by several of its titles; films of one name and year; one name spelled in two ways.
        looks = (kind, fold(text), year)
        if looks in self._given or (content_id and content_id in self._given):
            return
        self._given.update((looks, content_id))
        self.suggestions.append(
            Suggestion(text=text, kind=kind, matched_by=matched_by, content_id=content_id, release_year=year)
        )
