"""Phrases of a query that say something about what is wanted: each recogniser looks at the words from one place on."""

from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from media_gateway.discovery.filters import PersonAsked
from media_gateway.discovery.text_index import QueryText
from media_gateway.discovery.text_index.analysis import STOPWORDS, is_year
from media_gateway.discovery.understanding.facts import Facts, Reference
from media_gateway.discovery.understanding.times import time_at
from media_gateway.discovery.understanding.vocabulary import (
    AUDIENCES,
    AVAILABILITY,
    CONTENT_TYPES,
    FILLERS,
    KEYWORDS,
    LANGUAGES,
    LONGEST_PHRASE,
    MOODS,
    NEGATIONS,
    OWNERS,
    ROLES,
    ROLES_AFTER,
    TELLING,
    TITLES_OF,
    WEAK_NEGATIONS,
    WELL_RATED,
    WELL_RATED_FROM,
    genre_named,
)

SINGLE_NEGATIONS = frozenset(negation for negation in NEGATIONS if " " not in negation)

LONGEST_NAME = 4
"""Words of the longest name looked up."""

LONGEST_TITLE = 12
"""Words of the longest title that something like it is asked for."""


_FIRST_OF_NEGATIONS = frozenset(negation.split()[0] for negation in NEGATIONS)
_FIRST_OF_PLATFORMS = frozenset({"streaming", "available", "watch", "on", *OWNERS})
_FIRST_OF_ROLES = frozenset(role.split()[0] for role in ROLES)
"""Most words begin no phrase: what begins one is looked up before anything is put together."""


class Lexicon(Protocol):
    """What the catalogue knows; `text_index.CatalogueWords` is one."""

    def is_title(self, query: QueryText) -> bool:
        """Whether a whole query is a title, or a title and its year."""

    def is_nearly_title(self, query: QueryText) -> bool:
        """Whether a whole query is so much like a title that it is probably one, mistyped."""

    def titled(self, text: str, year: int | None) -> Reference | None:
        """The best known content of a title, of that year if one is given."""

    def nearly_titled(self, text: str) -> Reference | None:
        """The content whose title is nearly a text; None if none is near enough."""

    def has_person(self, name: str, role: str | None) -> bool:
        """Whether somebody of a folded full name is credited."""

    def is_in_names(self, word: str) -> bool:
        """Whether a folded word stands in anybody's name."""

    def has_last_name(self, word: str) -> bool:
        """Whether a folded word is meant as the last name of directors or leads."""

    def has_word(self, word: str) -> bool:
        """Whether any content has a folded word."""

    @property
    def platforms(self) -> Mapping[str, str]:
        """Platforms that offer anything now, by their names in words."""

    @property
    def first_words_of_platforms(self) -> AbstractSet[str]:
        """What those names begin with."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """What some words say.

    Attributes
    ----------
    length : int
        How many words.
    firm : bool
        Whether it is a condition also inside a description; otherwise only beside nothing but such phrases.
    of_story : bool
        Whether a long description may tell it of its story: its time, the language that is spoken in it.
    """

    length: int
    facts: Facts
    firm: bool = False
    of_story: bool = False


def phrase_at(words: Sequence[str], at: int, lexicon: Lexicon) -> Phrase | None:
    """The phrase that begins at a word, if any does."""
    if at and words[at - 1] in SINGLE_NEGATIONS:
        # What is refused here in a way that is not understood must not be asked for.
        return None
    recognisers: tuple[Callable[[Sequence[str], int, Lexicon], Phrase | None], ...] = (
        _comparison,
        _negation,
        _time,
        _platform,
        _listed,
        _role,
        _genre,
        _person,
    )
    return next((found for one in recognisers if (found := one(words, at, lexicon)) is not None), None)


def _comparison(words: Sequence[str], at: int, lexicon: Lexicon) -> Phrase | None:
    """``like Alien``, ``similar to Heat 1995 and Ronin``, ``in the style of Fargo``."""
    end = at + _lead_of_comparison(words, at)
    references: list[Reference] = []
    while end > at and (found := _title_at(words, end + bool(references), lexicon)) is not None:
        end, reference = found
        references.append(reference)
        if end >= len(words) or words[end] not in {"and", "or"}:
            break
    return Phrase(end - at, Facts(references=tuple(references)), firm=True) if references else None


def _title_at(words: Sequence[str], start: int, lexicon: Lexicon) -> tuple[int, Reference] | None:
    """The longest title that begins at a word, and where it ends, a year after it included."""
    for end in range(min(len(words), start + LONGEST_TITLE), start, -1):
        if STOPWORDS.issuperset(words[start:end]):
            break
        title = " ".join(words[start:end])
        year = int(words[end]) if end < len(words) and is_year(words[end]) else None
        found = lexicon.titled(title, year)
        if found is None and end == len(words):
            found = lexicon.nearly_titled(title)
        if found is not None:
            return end + (year is not None), found
    return None


def _lead_of_comparison(words: Sequence[str], at: int) -> int:
    before = words[at - 1] if at else ""
    if words[at] == "like" and (not at or before in TITLES_OF or genre_named((before,))):
        return 1
    for lead in (
        ("similar", "to"),
        ("in", "the", "style", "of"),
        ("in", "the", "vein", "of"),
        ("reminiscent", "of"),
    ):
        if tuple(words[at : at + len(lead)]) == lead:
            return len(lead)
    return 0


def _negation(words: Sequence[str], at: int, lexicon: Lexicon) -> Phrase | None:
    """``not horror``, ``without zombies``, ``but no musicals or westerns``."""
    if words[at] not in _FIRST_OF_NEGATIONS:
        return None
    lead = next(
        (one for one in NEGATIONS if tuple(words[at : at + len(one.split())]) == tuple(one.split())), None
    )
    if lead is None:
        return None
    start = at + len(lead.split())
    while start < len(words) and words[start] in {"a", "an", "any", "the", "too"}:
        start += 1
    facts, end = Facts(), start
    while (refused := _refused(words, end, lexicon, any_word=not facts)) is not None:
        facts += refused.facts
        end += refused.length
        if end + 1 < len(words) and words[end] in {"and", "or", "nor"} and _refused(words, end + 1, lexicon):
            end += 1
        else:
            break
    if not facts:
        return None
    is_told = at > 0 and words[at - 1] in TELLING
    is_condition = not is_told and (
        lead not in WEAK_NEGATIONS or all(word in FILLERS for word in words[end:])
    )
    return Phrase(end - at, facts, firm=is_condition and not facts.words_none)


def _refused(words: Sequence[str], at: int, lexicon: Lexicon, *, any_word: bool = False) -> Phrase | None:
    if at >= len(words):
        return None
    for length in range(min(LONGEST_PHRASE, len(words) - at), 0, -1):
        window = tuple(words[at : at + length])
        if genres := genre_named(window):
            return Phrase(length, Facts(genres_none=tuple(slug for slugs in genres for slug in slugs)))
        mood = MOODS.get(" ".join(window), ())
        if len(mood) == 1:
            return Phrase(length, Facts(genres_none=(str(mood[0]),)))
    named = _role(words, at, lexicon) or _person(words, at, lexicon)
    if named is not None:
        return Phrase(named.length, Facts(people_none=named.facts.people))
    if any_word and words[at] not in FILLERS and lexicon.has_word(words[at]):
        return Phrase(1, Facts(words_none=(words[at],)))
    return None


def _time(words: Sequence[str], at: int, _lexicon: Lexicon) -> Phrase | None:
    time = time_at(words, at)
    return Phrase(time.length, Facts(years=(time.span,)), time.firm, of_story=True) if time else None


def _platform(words: Sequence[str], at: int, lexicon: Lexicon) -> Phrase | None:
    """``on netflix``, ``available on amazon prime``; the name alone is one beside nothing but conditions."""
    if words[at] not in _FIRST_OF_PLATFORMS and words[at] not in lexicon.first_words_of_platforms:
        return None
    leads = (("streaming", "on"), ("available", "on"), ("watch", "on"), ("on",))
    lead = next((len(one) for one in leads if tuple(words[at : at + len(one)]) == one), 0)
    for length in range(min(LONGEST_PHRASE, len(words) - at - lead), 0, -1):
        found = _platform_named(" ".join(words[at + lead : at + lead + length]), lexicon.platforms)
        if found is not None:
            return Phrase(lead + length, Facts(platforms=(found,)), firm=lead > 0)
    return None


def _platform_named(name: str, known: Mapping[str, str]) -> str | None:
    """The platform of a name, with or without what its owner puts before it or behind it (``amazon prime``, ``disney+``)."""
    bare = next((name.removeprefix(f"{owner} ") for owner in OWNERS if name.startswith(f"{owner} ")), name)
    forms = (f"{form}{ending}" for form in (name, bare) for ending in ("", " plus", " video", " tv plus"))
    return next((known[form] for form in forms if form in known), None)


def _listed(words: Sequence[str], at: int, _lexicon: Lexicon) -> Phrase | None:
    """Phrases of the vocabulary that are always written in the same way."""
    if words[at] not in _FIRST_OF_LISTED:
        return None
    for length in range(min(LONGEST_PHRASE, len(words) - at), 0, -1):
        text = " ".join(words[at : at + length])
        if (facts := _LISTED.get(text)) is not None:
            # Two words are hardly said by chance; a nanny may sing "for children" before a story goes on.
            is_last = at + length == len(words)
            firm = length > 1 and (not facts.genres or (text in AUDIENCES and is_last))
            return Phrase(length, facts, firm=firm, of_story=True)
    return None


def _listed_facts() -> dict[str, Facts]:
    facts = {text: Facts(genres=(tuple(map(str, genres)),), moods=(text,)) for text, genres in MOODS.items()}
    facts |= {text: Facts(genres=(tuple(map(str, genres)),)) for text, genres in AUDIENCES.items()}
    facts |= {text: Facts(content_types=(str(kind),)) for text, kind in CONTENT_TYPES.items()}
    facts |= {text: Facts(availability_types=(str(kind),)) for text, kind in AVAILABILITY.items()}
    facts |= {text: Facts(keywords=(keyword,)) for text, keyword in KEYWORDS.items()}
    facts |= {text: Facts(ratings_from=(WELL_RATED_FROM,)) for text in WELL_RATED}
    for name, code in LANGUAGES.items():
        facts |= {name: Facts(languages=(code,)), f"in {name}": Facts(languages=(code,))}
    return facts


_LISTED = _listed_facts()
_FIRST_OF_LISTED = frozenset(text.split()[0] for text in _LISTED)


def _role(words: Sequence[str], at: int, lexicon: Lexicon) -> Phrase | None:
    """``directed by kubrick``, ``starring tom hanks``, ``clint eastwood as director``."""
    if words[at] not in _FIRST_OF_ROLES:
        return None
    for lead, role in ROLES.items():
        start = at + len(lead.split())
        if tuple(words[at:start]) == tuple(lead.split()) and (name := _name_at(words, start, lexicon, role)):
            return Phrase(
                start + len(name.split()) - at,
                Facts(people=(PersonAsked(name, role),)),
                firm=role is not None,
            )
    return None


def _person(words: Sequence[str], at: int, lexicon: Lexicon) -> Phrase | None:
    name = _name_at(words, at, lexicon, None)
    if name is None:
        return None
    end = at + len(name.split())
    for tail, role in ROLES_AFTER.items():
        length = len(tail.split())
        if tuple(words[end : end + length]) == tuple(tail.split()) and lexicon.has_person(name, role):
            return Phrase(end + length - at, Facts(people=(PersonAsked(name, role),)))
    return Phrase(end - at, Facts(people=(PersonAsked(name),)))


def _name_at(words: Sequence[str], at: int, lexicon: Lexicon, role: str | None) -> str | None:
    # Casts hold roles, too ("a cook").
    may_be_first = at < len(words) and words[at] not in {"a", "an", "the"} and lexicon.is_in_names(words[at])
    longest = LONGEST_NAME if may_be_first else 0
    for length in range(min(longest, len(words) - at), 1, -1):
        name = " ".join(words[at : at + length])
        if lexicon.has_person(name, role):
            return name
    if not may_be_first or words[at] in FILLERS:
        return None
    known = lexicon.has_person(words[at], role) if role else lexicon.has_last_name(words[at])
    return words[at] if known else None


def _genre(words: Sequence[str], at: int, _lexicon: Lexicon) -> Phrase | None:
    for length in range(min(LONGEST_PHRASE, len(words) - at), 0, -1):
        if genres := genre_named(tuple(words[at : at + length])):
            return Phrase(length, Facts(genres=genres))
    return None
