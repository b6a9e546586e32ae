"""Beginnings: the texts by whose start something is suggested, sorted so that a prefix is one stretch of them.

Every word of a title or name starts one ("dark knight rises", "knight rises", "rises"). Used by the suggestions only. What
is made here never changes, so readers need no lock.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from media_gateway.discovery.text_index.analysis import without_article

WIDTH = 16
"""Bytes kept of a beginning, enough to tell nearly all apart; who types more is answered by word (see `matches`)."""

KEYS = np.dtype(f"S{WIDTH}")
"""Type of the kept bytes: compared as bytes, and what is shorter comes first."""

_AFTER = b"\xff"
"""Sorts after every byte of UTF-8."""

_ONES = np.uint64(0x0101010101010101)
_SPACES = _ONES * np.uint64(ord(" "))
_ALL = ~np.uint64(0)


class Place(IntEnum):
    """Where in a title or name a beginning starts."""

    WHOLE = 0
    """At its start."""
    BARE = 1
    """After its leading article."""
    JOINED = 2
    """At either, but written without spaces."""
    INNER = 3
    """At a later word."""


class NewBeginnings:
    """Beginnings as they come, to be sorted."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.entries = array("i")
        self.places = bytearray()

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, text: str, entry: int, place: Place) -> None:
        """One beginning."""
        self._add(text.encode(), entry, place)

    def add_name(self, folded: str, entry: int) -> None:
        """All beginnings of a folded name."""
        self._add(folded.encode(), entry, Place.WHOLE)
        self._add_words(folded, entry)

    def add_title(self, folded: str, entry: int) -> None:
        """All beginnings of a folded title, also those without its article."""
        bare = without_article(folded)
        self._add(folded.encode(), entry, Place.WHOLE)
        if bare != folded:
            self._add(bare.encode(), entry, Place.BARE)
        self._add_words(bare, entry)

    def _add_words(self, folded: str, entry: int) -> None:
        if " " not in folded:
            return
        self._add(folded.replace(" ", "").encode(), entry, Place.JOINED)
        key = folded.encode()
        space = key.find(b" ")
        while space >= 0:
            self._add(key[space + 1 : space + 1 + WIDTH], entry, Place.INNER)
            space = key.find(b" ", space + 1)

    def _add(self, key: bytes, entry: int, place: Place) -> None:
        self.keys.append(key[:WIDTH])
        self.entries.append(entry)
        self.places.append(place)


@dataclass(frozen=True, slots=True, eq=False)
class Beginnings:
    """Sorted beginnings.

    Attributes
    ----------
    keys : NDArray[np.bytes_]
        The first `WIDTH` bytes of each, sorted.
    entries : NDArray[np.int32]
        Entry of each.
    places : NDArray[np.uint8]
        `Place` of each.
    tokens : NDArray[np.bytes_]
        The distinct first words of the keys, sorted.
    starts : NDArray[np.int64]
        Where the keys of each token start, and the end of the last.
    """

    keys: NDArray[np.bytes_]
    entries: NDArray[np.int32]
    places: NDArray[np.uint8]
    tokens: NDArray[np.bytes_]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, new: NewBeginnings) -> Self:
        """Sort what is given."""
        return cls._sorted(
            np.array(new.keys, dtype=KEYS),
            np.array(new.entries, dtype=np.int32),
            np.array(new.places, dtype=np.uint8),
        )

    @classmethod
    def merged(cls, parts: Sequence[Self], keep: NDArray[np.bool_]) -> Self:
        """All of the parts in one, but for those of entries that are not to be kept."""
        entries = np.concatenate([part.entries for part in parts])
        kept = keep[entries]
        return cls._sorted(
            np.concatenate([part.keys for part in parts])[kept],
            entries[kept],
            np.concatenate([part.places for part in parts])[kept],
        )

    @classmethod
    def _sorted(cls, keys: NDArray[np.bytes_], entries: NDArray[np.int32], places: NDArray[np.uint8]) -> Self:
        # Stable means timsort, which takes sorted parts as they are. Taking, unlike indexing, lets other threads run.
        order = np.argsort(keys, kind="stable")
        keys = keys.take(order)
        words = _first_words(keys)
        is_new = np.ones(len(words), dtype=np.bool_)
        is_new[1:] = words[1:] != words[:-1]
        starts = np.flatnonzero(is_new)
        ends = np.append(starts, len(keys))
        return cls(keys, entries.take(order), places.take(order), words.take(starts), ends)

    def __len__(self) -> int:
        return len(self.keys)

    def equal_to(self, key: bytes) -> slice:
        """Where the beginnings are that are this text, of fewer than `WIDTH` bytes."""
        return self._between(key, key + b"\x01")

    def with_word(self, word: bytes) -> slice:
        """Where the beginnings are whose first word is this, of fewer than `WIDTH` bytes."""
        return self._between(word, word + b"!")

    def starting_with(self, prefix: bytes) -> slice:
        """Where the beginnings are that start with the first `WIDTH` bytes of a text."""
        if len(prefix) < WIDTH:
            return self._between(prefix, prefix.ljust(WIDTH, _AFTER))
        wanted = np.array([prefix[:WIDTH]], dtype=KEYS)
        start, end = self.keys.searchsorted(wanted), self.keys.searchsorted(wanted, side="right")
        return slice(int(start[0]), int(end[0]))

    def _between(self, first: bytes, end: bytes) -> slice:
        bounds = self.keys.searchsorted(np.array([first, end], dtype=KEYS))
        return slice(int(bounds[0]), int(bounds[1]))

    def of_words(
        self, numbers: NDArray[np.int64], *, alone: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the beginnings whose first word is one of the tokens, and how many each of them has.

        Parameters
        ----------
        alone
            Only those that are this word and no more.
        """
        starts, ends = self.starts[numbers], self.starts[numbers + 1]
        if alone:
            ends = np.searchsorted(self.keys, self.tokens[numbers], side="right")
        return stretches(starts, ends - starts), ends - starts


def stretches(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of all stretches, one after the other."""
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)


def _first_words(keys: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    halves = keys.view("<u8").reshape(-1, 2)
    before = _before_space(halves)
    # The second half belongs to the word only if no space is in the first.
    before[:, 1] *= before[:, 0] == _ALL
    words: NDArray[np.bytes_] = (halves & before).view(KEYS).reshape(-1)
    return words


def _before_space(texts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """For eight bytes as a number each, the bits of those before the first space.

    By the exclusive or, spaces become zero bytes; the lowest of these is found as in "Bit Twiddling Hacks" (S. E. Anderson),
    "Determine if a word has a zero byte".
    """
    spaced = texts ^ _SPACES
    found = (spaced - _ONES) & ~spaced & (_ONES << np.uint64(7))
    lowest = found & (~found + np.uint64(1))
    return (lowest >> np.uint64(7)) - np.uint64(1)
