"""A query as its words were probably meant ("did you mean"). Called by whoever answers a search; asks memory only.

Careful rather than helpful: whoever typed a title, or words that the catalogue has, is not corrected.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, islice

import numpy as np
from rapidfuzz.distance import OSA

from media_gateway.discovery.suggestions.beginnings import WIDTH, Place
from media_gateway.discovery.suggestions.index import Suggestions
from media_gateway.discovery.suggestions.matches import (
    COMPARED,
    Typed,
    is_mistyped_article,
    whole_of,
)
from media_gateway.discovery.suggestions.state import State
from media_gateway.discovery.suggestions.typos import near_words
from media_gateway.discovery.text_index import QueryText
from media_gateway.discovery.text_index.analysis import (
    GRAM_QUERY_LIMIT,
    STOPWORDS,
    allowed_typos,
    fold,
    loose,
    without_article,
)
from media_gateway.discovery.text_index.schema import stems
from media_gateway.discovery.understanding.vocabulary import SPOKEN

FAR_RARER = 10
"""A word of the catalogue is taken for mistyped if what may be meant is found so many times as often, and only in a whole
title or name, or beside the other words of the query where the word itself is not."""

CANDIDATES = 10
"""Words looked at closely for one that was mistyped."""

UNKNOWN_WORDS = 3
"""More words that nothing has make a query that is about something else."""

LONG = 8
"""Letters from which on a single error is one even between words that the catalogue has; shorter titles are often so near."""

FEW_WORDS = 4
"""Queries of more words are descriptions, in which rare words are meant."""


class Spelling:
    """Offers corrected queries.

    Parameters
    ----------
    suggestions
        Its titles and names are what a query is corrected to.
    frequency
        How many contents have a folded word anywhere, descriptions included; `TextIndex.frequency` is one.
    """

    def __init__(self, suggestions: Suggestions, frequency: Callable[[str], int]) -> None:
        self._suggestions = suggestions
        self._frequency = frequency

    def did_you_mean(self, query: QueryText) -> str | None:
        """The query as it was probably meant, for people to read; None if it is fine, or past guessing.

        Never for a query that is a title or a name. Offered are a whole title or name a few letters away, else other words
        in place of those that the catalogue does not have.
        """
        if not query.words or len(query.key) > GRAM_QUERY_LIMIT or query.key.isdigit():
            return None
        state = self._suggestions.state
        asked = (query.key, *(query.title_and_year or ())[:1])
        if any(whole_of(state, Typed.of(str(key))) is not None for key in asked):
            return None
        words = _Words(state, self._frequency, query.words)
        if len(words.unknown) > UNKNOWN_WORDS or _is_joined_words(state, query.key):
            return None
        typed = Typed.of(_with_article(query.key))
        whole = whole_of(state, typed) if typed.key != query.key else None
        whole = _nearly_whole(words, typed) if whole is None else whole
        if whole is not None:
            return state.shown.texts[whole]
        better = _in_place_of_unknown(words) if words.unknown else _in_place_of_rare(words)
        return _written(state, query, better) if better else None


class _Words:
    """The words of a query, and what the catalogue has of them."""

    def __init__(self, state: State, frequency: Callable[[str], int], words: Sequence[str]) -> None:
        self.state = state
        self.frequency = frequency
        self.entries = {word: state.with_word(word) for word in words}
        self.unknown = [
            word
            for word, numbers in self.entries.items()
            # A number is what it is: no other one was meant.
            if word not in STOPWORDS | SPOKEN and not word.isdigit()
            if not state.any_left(numbers) and not frequency(word)
        ]

    @property
    def are_together(self) -> bool:
        """Whether a title or name has them all."""
        return self.state.any_left(self.state.in_all(list(self.entries.values())))

    def are_beside(self, *others: str, without: str = "") -> bool:
        """Whether a title or name has other words, and those of the query but one that titles or names have at all."""
        known = [numbers for word, numbers in self.entries.items() if word != without and len(numbers)]
        found = self.state.in_all([*known, *map(self.state.with_word, others)])
        return self.state.any_left(found)

    def is_far_rarer(self, word: str, other: str) -> bool:
        """Whether one word is so rare beside another that it may be a typing error."""
        return FAR_RARER * self.frequency(word) <= self.frequency(other)


def _nearly_whole(words: _Words, typed: Typed) -> int | None:
    """The entry that all of the query was probably meant as."""
    state = words.state
    typos = allowed_typos(typed.joined)
    if not typos:
        return None
    near: list[tuple[int, int, int, int, str]] = []
    for number in islice(state.best_first(state.nearly_equal_to(typed.joined, typos), COMPARED), COMPARED):
        key = fold(state.shown.texts[number])
        errors = OSA.distance(typed.joined, loose(key), score_cutoff=typos)
        if errors <= typos:
            near.append((errors, OSA.distance(typed.key, key), len(near), number, key))
    is_new = not words.unknown and not words.are_together
    for errors, _, _, number, key in sorted(near):
        if _is_meant(words, typed, Typed.of(key), surely=is_new and errors == 1):
            return number
    return None


def _is_meant(words: _Words, typed: Typed, meant: Typed, *, surely: bool) -> bool:
    """Whether what was typed is unknown where it differs, or far rarer; or long, ``surely`` near, and no other form of it."""
    there, here = typed.bare.split(), meant.bare.split()
    if words.unknown:
        return len(here) != len(there) or not set(words.unknown).isdisjoint(set(there) - set(here))
    if len(here) != len(there):
        return surely
    differing = [(word, other) for word, other in zip(there, here, strict=True) if word != other]
    if surely and len(typed.joined) >= LONG:
        return any(stems(word) != stems(other) for word, other in differing)
    return all(words.is_far_rarer(word, other) for word, other in differing)


def _in_place_of_unknown(words: _Words) -> dict[str, str]:
    """A word for each that is unknown, if one of the likeliest stands beside the others somewhere, or is one letter off."""
    better: dict[str, str] = {}
    for word in words.unknown:
        near = _near(words.state, word)
        spoken = _spoken_near(word)
        if spoken is not None and (not near or spoken[1] <= near[0][1]):
            better[word] = spoken[0]
            continue
        beside = (other for other, _ in near if words.are_beside(*better.values(), other))
        meant = next(beside, near[0][0] if near and near[0][1] == 1 else None)
        if meant is None:
            return {}
        better[word] = meant
    return better


def _in_place_of_rare(words: _Words) -> dict[str, str]:
    """A word for one of a few that the catalogue has, but not together."""
    if not 1 < len(words.entries) <= FEW_WORDS or words.are_together:
        return {}
    for word in words.entries:
        for other, _ in _near(words.state, word):
            if words.is_far_rarer(word, other) and words.are_beside(other, without=word):
                return {word: other}
    return {}


def _spoken_near(word: str) -> tuple[str, int] | None:
    """The word of queries ("movies", "horror") that a mistyped one was meant as, with its errors."""
    typos = allowed_typos(word)
    near = ((other, OSA.distance(word, other, score_cutoff=typos)) for other in sorted(SPOKEN) if typos)
    return min((one for one in near if one[1] <= typos), key=lambda one: one[1], default=None)


def _near(state: State, word: str) -> list[tuple[str, int]]:
    """The likeliest words that a mistyped one was meant as, with their errors: the fewest first, then what is popular."""
    typos = allowed_typos(word)
    found: dict[bytes, tuple[int, float]] = {}
    for part in state.parts if typos else ():
        numbers, errors = near_words(part.tokens, word.encode(), typos)
        positions, counts = part.of_words(numbers)
        is_word = part.places[positions] != Place.JOINED
        weights = np.maximum(state.weights[part.entries[positions]], 0.0) * is_word
        # Squared, so that one who is known to all counts more than some whom few know.
        totals = np.bincount(np.repeat(np.arange(len(numbers)), counts), weights**2, len(numbers))
        for token, wrong, total in zip(part.tokens[numbers].tolist(), errors.tolist(), totals, strict=True):
            if total and wrong and len(token) < WIDTH:
                found[token] = (wrong, found.get(token, (0, 0.0))[1] - float(total))
    likeliest = sorted(found, key=lambda token: (*found[token], token))[:CANDIDATES]
    return [(token.decode(), found[token][0]) for token in likeliest]


def _is_joined_words(state: State, key: str) -> bool:
    """Whether it is some words that a title or name starts with, without their spaces: search reads it as it is."""
    numbers = state.starting_with(key, Place.JOINED)
    texts = (
        state.shown.texts[number] for number in islice(state.best_first(numbers, CANDIDATES), CANDIDATES)
    )
    return any(key in accumulate(without_article(fold(text)).split()) for text in texts)


def _with_article(key: str) -> str:
    """The query with its article right, should it begin with a mistyped one."""
    first, _, rest = key.partition(" ")
    return f"the {rest}" if rest and is_mistyped_article(first) else key


def _written(state: State, query: QueryText, better: Mapping[str, str]) -> str:
    """The corrected query: a title or name as it is written, else what was typed with other words in it."""
    whole = whole_of(state, Typed.of(" ".join(better.get(word, word) for word in query.words)))
    if whole is not None:
        return state.shown.texts[whole]
    typed = query.text.split()
    words = typed if [fold(word) for word in typed] == list(query.words) else query.words
    return " ".join(better.get(fold(word), word) for word in words)
