"""Queries that ask for a kind of film and nothing else: genres, years and decades (``80s horror``).

Used by the text index only. Whatever holds another word is no such query and is searched by its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from media_gateway.core.domain.content import Genre
from media_gateway.discovery.text_index.analysis import STOPWORDS, decade_of, fold, is_year
from media_gateway.discovery.text_index.schema import GENRE_WORDS, stems

LONGEST_GENRE = 2
"""Words of the longest name of a genre."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked for: each of ``genres`` by any of its slugs, and any of ``years`` (``1980`` or ``1980s``)."""

    genres: tuple[frozenset[str], ...]
    years: tuple[str, ...]


def kind_asked(words: Sequence[str]) -> Kind | None:
    """The kind that all words of a query name together; None if they say anything else, or a year alone."""
    asked = [word for word in words if word not in STOPWORDS]
    genres: list[frozenset[str]] = []
    years: list[str] = []
    position = 0
    while position < len(asked):
        word = asked[position]
        taken = 1
        if year := decade_of(word) or (word if is_year(word) else None):
            years.append(year)
        else:
            taken, slugs = _genre_at(asked[position : position + LONGEST_GENRE])
            if not slugs:
                return None
            genres.append(slugs)
        position += taken
    if not genres and not any(decade_of(year) for year in years):
        return None
    return Kind(tuple(genres), tuple(years))


def _genre_at(words: Sequence[str]) -> tuple[int, frozenset[str]]:
    for length in range(len(words), 0, -1):
        if slugs := _GENRES.get(_form(words[:length])):
            return length, slugs
    return 1, frozenset()


def _form(words: Sequence[str]) -> str:
    """By stems, so that ``comedies`` and ``westerns`` are genres too."""
    return "".join(stems(" ".join(words)))


def _genre_names() -> dict[str, frozenset[str]]:
    names: dict[str, set[str]] = {}
    for genre in Genre:
        for name in (genre.replace("_", " "), *GENRE_WORDS.get(genre, ())):
            names.setdefault(_form(fold(name).split()), set()).add(genre.value)
    return {name: frozenset(slugs) for name, slugs in names.items()}


_GENRES = _genre_names()
