"""Why a content was found, in words for a person. Worked out for the contents of one page, after the search."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.text_index.analysis import (
    QueryText,
    allowed_typos,
    decade_of,
    fold,
    loose,
    name_keys,
    sequel_keys,
    series_keys,
    singular,
    with_digits,
)
from media_gateway.discovery.text_index.schema import genre_words, keyword_words, stems
from media_gateway.discovery.text_index.wording import Wording

MAX_REASONS = 5
"""Reasons given at most, strongest first."""

MAX_NAMES = 2
"""People named at most for one role."""

MAX_KEYWORDS = 3
"""Keywords quoted at most."""

SIMILAR_TITLE = 80.0
"""Least likeness, in per cent, of a title that is called similar before anything else is said."""

LIKE_TITLE = 60.0
"""Least likeness, in per cent, of a title that is called similar when there is nothing else to say."""

NUMBER_LETTERS = 12
"""A query that is longer than twice a title by more than so many letters is no way to write it, with its number in words."""

_ROLE_WORDS = {"actor": "cast"}


def match_reasons(query: QueryText, content: IndexedContent, wording: Wording) -> list[str]:
    """What of the query was found where, strongest first; empty for what has none of its words, nor any like them.

    A word that a title or a name explains is not said to stand in the description too. ``wording`` is the content's.
    """
    asked = _Asked(query)
    whole = _whole_title(query, content)
    found = [
        *([whole] if whole else asked.of_titles(with_digits(fold(title)) for title in content.titles)),
        *_people(asked, content.people),
        *_genres(asked, content.genres),
        *_year(asked, content.release_year),
    ]
    if not whole:
        found += _keywords(asked, content.keywords)
        found += asked.of_overview(wording.overview)
        if fuzz.ratio(query.key, fold(content.title)) >= SIMILAR_TITLE:
            found.insert(0, "title is similar")
    return (found or _nearly(query, content))[:MAX_REASONS]


@lru_cache(maxsize=64)
def _stems_of(terms: tuple[str, ...]) -> dict[str, str]:
    """The words by their stems; asked for again with each content of a page, as is the next."""
    return {stem: term for term in terms for stem in stems(term)}


@lru_cache(maxsize=64)
def _title_asked(text: str) -> tuple[str, frozenset[str]]:
    """The loose form of a query, and as numbered title."""
    return loose(fold(text)), frozenset(sequel_keys(text, continued=False))


@lru_cache(maxsize=64)
def _genre_stems(genre: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stems(genre_words(genre))))


@lru_cache(maxsize=1 << 13)
def _name_words(name: str) -> tuple[str, ...]:
    return tuple(fold(name).split())


class _Asked:
    """The words of a query, and which of them are explained already."""

    def __init__(self, query: QueryText) -> None:
        self.query = query
        self.stems = _stems_of(query.terms)
        self.explained: set[str] = set()

    def explain(self, terms: Iterable[str]) -> None:
        self.explained.update(terms)

    def in_text(self, folded: str) -> list[str]:
        """Words of the query that stand in a text."""
        return self.of_stems(dict.fromkeys(stems(folded)))

    def of_stems(self, found: Iterable[str]) -> list[str]:
        return [self.stems[stem] for stem in found if stem in self.stems]

    def of_titles(self, folded: Iterable[str]) -> list[str]:
        words = list(dict.fromkeys(word for title in folded for word in self.in_text(title)))
        self.explain(words)
        return [f"title: {', '.join(words)}"] if words else []

    def of_overview(self, stemmed: Iterable[str]) -> list[str]:
        """Words of the query among those of the overview, but what is explained already."""
        words = [word for word in dict.fromkeys(self.of_stems(stemmed)) if word not in self.explained]
        self.explain(words)
        return [f"description: {', '.join(words)}"] if words else []


def _whole_title(query: QueryText, content: IndexedContent) -> str | None:
    squeezed, numbers = _title_asked(query.text)
    for title in content.titles:
        if len(query.key) > 2 * len(title) + NUMBER_LETTERS:
            continue
        known_as = "" if title == content.title else f" (“{title}”)"
        if fold(title) == query.key:
            return f"title matches exactly{known_as}"
        if squeezed and squeezed == loose(fold(title)):
            return f"title matches{known_as}"
        if numbers and not numbers.isdisjoint(sequel_keys(title)):
            return f"title matches{known_as}"
        if squeezed in series_keys(title):
            return f"title begins with it{known_as}"
    if query.title_and_year and query.title_and_year[1] == content.release_year:
        name = loose(query.title_and_year[0])
        if any(name == loose(fold(title)) or name in series_keys(title) for title in content.titles):
            return "title and year match"
    return None


def _people(asked: _Asked, people: Sequence[Person]) -> list[str]:
    squeezed = asked.query.key.replace(" ", "")
    named = [(person, _name_words(person.name)) for person in people]
    terms = set(asked.query.terms)
    if not any(words and (words[0] in squeezed or not terms.isdisjoint(words)) for _, words in named):
        return []
    everybody = {word for _, words in named for word in words}
    first_names = {word for _, words in named for word in words[:-1]}
    whole, parts = dict[str, list[str]](), dict[str, list[str]]()
    for person, words in named:
        role = _ROLE_WORDS.get(person.role, person.role)
        # Every key begins with the first word.
        if words and words[0] in squeezed and any(key in squeezed for key in name_keys(" ".join(words))):
            whole.setdefault(role, []).append(person.name)
            asked.explain(words)
        elif not terms.isdisjoint(words) and _is_meant(asked.query, words, everybody, first_names):
            parts.setdefault(role, []).append(person.name)
            asked.explain(words)
    # Somebody named in full explains the words; namesakes of one word then only distract.
    return [f"{role}: {', '.join(names[:MAX_NAMES])}" for role, names in (whole or parts).items()]


def _is_meant(query: QueryText, name: Sequence[str], everybody: set[str], first_names: set[str]) -> bool:
    """Whether words of a query mean this person: two of the name, the last name, or a first name that stands alone.

    Not one word of a name beside a word of somebody else's: "james bond" means neither James Caan nor Rudy Bond.
    """
    found = [word for word in name if word in query.terms]
    if len(found) != 1:
        return len(found) > 1
    at = query.words.index(found[0])
    before, after = query.words[max(0, at - 1) : at], query.words[at + 1 : at + 2]
    if found[0] == name[-1]:
        return first_names.isdisjoint(before)
    return everybody.isdisjoint((*before, *after))


def _keywords(asked: _Asked, keywords: Iterable[str]) -> list[str]:
    """Whole keywords with words of the query that nothing explained before."""
    wanted = {singular(term): term for term in asked.query.terms if term not in asked.explained}
    found: list[str] = []
    for keyword in keywords:
        if words := [wanted[word] for word in keyword_words(keyword) if word in wanted]:
            asked.explain(words)
            found.append(keyword)
    return [f"keyword: {', '.join(found[:MAX_KEYWORDS])}"] if found else []


def _genres(asked: _Asked, genres: Iterable[str]) -> list[str]:
    found = []
    for genre in genres:
        if words := asked.of_stems(_genre_stems(genre)):
            asked.explain(words)
            found.append(f"genre: {genre.replace('_', ' ')}")
    return found


def _year(asked: _Asked, year: int | None) -> list[str]:
    if year is None:
        return []
    words = [
        term for term in asked.query.terms if (decade_of(term) or term) in {str(year), f"{year // 10}0s"}
    ]
    asked.explain(words)
    return [f"year: {year}"] if words else []


def _nearly(query: QueryText, content: IndexedContent) -> list[str]:
    for person in content.people:
        if any(_mistyped(term, part) for term in query.terms for part in _name_words(person.name)):
            return [f"{_ROLE_WORDS.get(person.role, person.role)}: {person.name}, nearly"]
    alike = max((fuzz.ratio(query.key, fold(title)) for title in content.titles), default=0.0)
    return ["title is similar"] if alike >= LIKE_TITLE else []


def _mistyped(term: str, word: str) -> bool:
    allowed = allowed_typos(term)
    return allowed > 0 and 0 < OSA.distance(term, word, score_cutoff=allowed) <= allowed
