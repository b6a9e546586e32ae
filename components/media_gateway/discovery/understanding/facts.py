"""What a query says, as data."""

from dataclasses import dataclass, fields, replace
from typing import Self
from uuid import UUID

from media_gateway.discovery.filters import PersonAsked, SearchFilter

Span = tuple[int | None, int | None]
"""First and last year; None is open."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A content of the catalogue that something like it is asked for."""

    content_id: UUID
    title: str
    release_year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Things said in a query, in the words of the catalogue; empty tuples say nothing.

    Attributes
    ----------
    genres : tuple[tuple[str, ...], ...]
        Each of them by any of its slugs (``musical`` is also ``music``).
    genres_none, people_none, words_none : tuple
        What it must not be or have; words are folded.
    years : tuple[Span, ...]
        Times, each as first and last year.
    ratings_from : tuple[float, ...]
        Average ratings it must at least have.
    moods : tuple[str, ...]
        As they were written; what they ask for is among the genres.
    references : tuple[Reference, ...]
        What it must be like.
    """

    genres: tuple[tuple[str, ...], ...] = ()
    genres_none: tuple[str, ...] = ()
    years: tuple[Span, ...] = ()
    platforms: tuple[str, ...] = ()
    availability_types: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    people: tuple[PersonAsked, ...] = ()
    people_none: tuple[PersonAsked, ...] = ()
    keywords: tuple[str, ...] = ()
    words_none: tuple[str, ...] = ()
    ratings_from: tuple[float, ...] = ()
    moods: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()

    def __bool__(self) -> bool:
        return self != _NOTHING

    def __add__(self, other: "Facts") -> "Facts":
        return Facts(
            **{
                one.name: tuple(dict.fromkeys(getattr(self, one.name) + getattr(other, one.name)))
                for one in fields(self)
            }
        )

    def either(self, other: Self) -> "Facts":
        """What one says, its last genre or the first of the other sufficing."""
        if not self.genres or not other.genres:
            return self + other
        merged = tuple(dict.fromkeys(self.genres[-1] + other.genres[0]))
        genres = (*self.genres[:-1], merged, *other.genres[1:])
        return replace(self, genres=()) + replace(other, genres=()) + Facts(genres=genres)

    def in_passing(self) -> "Facts":
        """What is worth telling of a description: full names, no words that it may only seem to refuse."""
        people = tuple(person for person in self.people if " " in person.name)
        return replace(self, people=people, people_none=(), words_none=(), genres_none=(), references=())

    def to_filter(self) -> SearchFilter:
        """The condition that all of it holds. Moods are among the genres; references ask for an order, not for a filter."""
        first, last = self._time()
        return SearchFilter(
            genres_all=self.genres,
            genres_none=self.genres_none,
            platforms_any=self.platforms,
            availability_types=self.availability_types,
            content_types=self.content_types,
            languages_any=self.languages,
            year_from=first,
            year_to=last,
            rating_from=max(self.ratings_from, default=None),
            people_all=self.people,
            people_none=self.people_none,
            keywords_all=self.keywords,
            words_none=self.words_none,
        )

    def _time(self) -> Span:
        """What several times have in common (1984 of the eighties), or from the first to the last if nothing."""
        if not self.years:
            return None, None
        firsts = [first for first, _ in self.years if first is not None]
        lasts = [last for _, last in self.years if last is not None]
        low, high = max(firsts, default=None), min(lasts, default=None)
        return (
            (min(firsts), max(lasts)) if low is not None and high is not None and low > high else (low, high)
        )


_NOTHING = Facts()
