"""The suggestions as of one commit, and the look-ups in them. Used by the suggestions only; never changes once made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media_gateway.discovery.suggestions.beginnings import WIDTH, Beginnings, Place
from media_gateway.discovery.suggestions.entries import GONE, Shown
from media_gateway.discovery.suggestions.typos import near_beginnings, near_words

Numbers = NDArray[np.int32]
"""Numbers of entries, some perhaps more than once, some perhaps gone."""

AS_WRITTEN = (Place.WHOLE, Place.BARE, Place.INNER)
"""Places of words that stand so in a title or name."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The suggestions as of one commit.

    Attributes
    ----------
    parts : tuple[Beginnings, ...]
        At least one; what is found is in any of them.
    weights : NDArray[np.float64]
        By number of entry; negative for those that are gone.
    """

    parts: tuple[Beginnings, ...]
    weights: NDArray[np.float64]
    shown: Shown

    def starting_with(self, text: str, *places: Place) -> Numbers:
        """Entries with a beginning, in these places or any, that starts with the first bytes of a text."""
        key = text.encode()
        return self._at([(part, part.starting_with(key)) for part in self.parts], places)

    def equal_to(self, text: str, *places: Place) -> Numbers:
        """Entries with a beginning, in these places or any, that is this text, shorter than `WIDTH` bytes."""
        key = text.encode()
        return self._at([(part, part.equal_to(key)) for part in self.parts], places)

    def nearly_starting_with(self, text: str, typos: int) -> tuple[Numbers, NDArray[np.uint8]]:
        """Entries with a beginning of which the first word begins so but for some errors, and how many."""
        entries, errors = [], []
        for part in self.parts:
            tokens, wrong = near_beginnings(part.tokens, text.encode(), typos)
            positions, counts = part.of_words(tokens)
            entries.append(part.entries[positions])
            errors.append(np.repeat(wrong, counts))
        return np.concatenate(entries), np.concatenate(errors)

    def nearly_equal_to(self, text: str, typos: int) -> Numbers:
        """Entries with a beginning that is one word, which is this text but for some errors as far as can be seen."""
        entries = []
        for part in self.parts:
            tokens, _ = near_words(part.tokens, text.encode(), typos)
            positions, _ = part.of_words(tokens, alone=True)
            entries.append(part.entries[positions])
        return np.concatenate(entries)

    def with_word(self, word: str) -> Numbers:
        """Entries with this word."""
        key = word.encode()
        if len(key) >= WIDTH:
            return self.starting_with(word, *AS_WRITTEN)
        return self._at([(part, part.with_word(key)) for part in self.parts], AS_WRITTEN)

    def in_all(self, choices: Sequence[Numbers]) -> Numbers:
        """Entries that are in each of the lists."""
        fewest, *others = sorted(choices, key=len)
        for other in others:
            if not len(fewest):
                break
            member = np.zeros(len(self.weights), dtype=np.bool_)
            member[other] = True
            fewest = fewest[member[fewest]]
        return fewest

    def any_left(self, entries: Numbers) -> bool:
        """Whether any of them is not gone."""
        return bool((self.weights[entries] > GONE).any())

    def best_first(self, entries: Numbers, few: int) -> Iterator[int]:
        """Those that are not gone, by weight; getting the first few is cheap however many there are."""
        weights = self.weights[entries]
        if len(entries) > few:
            least = np.partition(weights, len(entries) - few)[len(entries) - few]
            top = weights >= max(least, 0.0)
            yield from self._by_weight(entries[top])
            entries, weights = entries[~top], weights[~top]
        yield from self._by_weight(entries[weights > GONE])

    def _by_weight(self, entries: Numbers) -> list[int]:
        found: list[int] = entries[np.argsort(-self.weights[entries], kind="stable")].tolist()
        return found

    @staticmethod
    def _at(found: Sequence[tuple[Beginnings, slice]], places: Sequence[Place]) -> Numbers:
        if not places:
            return np.concatenate([part.entries[where] for part, where in found])
        wanted = np.zeros(len(Place), dtype=np.bool_)
        wanted[list(places)] = True
        return np.concatenate([part.entries[where][wanted[part.places[where]]] for part, where in found])
