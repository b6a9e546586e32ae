"""Reads a query: which of its words are conditions, which are looked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.text_index import QueryText, analyse
from media_gateway.discovery.understanding.facts import Facts
from media_gateway.discovery.understanding.phrases import Lexicon, Phrase, phrase_at
from media_gateway.discovery.understanding.vocabulary import FILLERS

__all__ = ["Lexicon", "Reader", "Understanding"]

NO_CONDITION: Final = SearchFilter()
NOTHING: Final = Facts()

STORY_WORDS: Final = 14
"""A query of more words tells a story: of 422 synopses 15 name a decade, always that of the story."""

REQUEST_WORDS: Final = frozenset(["film", "films", "movie", "movies", "show", "shows", "watch", "find"])
"""Left out at the ends of what is looked for once something else was understood: nobody describes a film as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """What a query asks for.

    Attributes
    ----------
    words : QueryText
        What is looked for in texts; its ``kind`` is set if all of the query is conditions.
    where : SearchFilter
        Conditions that hold for every result; nothing if all of the query is conditions, since its ``kind`` has them.
    asked : Facts
        What became conditions or references.
    noticed : Facts
        What was recognised inside a description and counts as words only.
    by : str
        Who understood it: ``rules`` or ``model``.
    """

    words: QueryText
    where: SearchFilter = NO_CONDITION
    asked: Facts = NOTHING
    noticed: Facts = NOTHING
    by: Literal["rules", "model"] = "rules"

    @property
    def is_plain(self) -> bool:
        """Whether the query is nothing but words."""
        return not self.asked


class _Placed(NamedTuple):
    """A phrase, where it begins, and whether "or" joins it to the one before."""

    phrase: Phrase
    at: int
    joined: bool


class Reader:
    """Understands queries by the words of the language and of the catalogue."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def read(self, text: str) -> Understanding:
        """What a query asks for; a title is asked for as it is, whatever else its words may mean."""
        query = analyse(text)
        phrases, rest = self._phrases(query)
        everything = _sum(phrases)
        asks_all = all(word in FILLERS for word in rest)
        if not everything or (asks_all and _is_one_thing(query, everything, phrases)):
            return Understanding(words=query)
        is_title = self._lexicon.is_title(query)
        if asks_all and not everything.references and not (is_title and everything.people):
            return Understanding(words=replace(query, kind=everything.to_filter()), asked=everything)
        is_story = len(query.words) > STORY_WORDS
        firm = [
            one for one in phrases if asks_all or (one.phrase.firm and not (is_story and one.phrase.of_story))
        ]
        asked = _sum(firm)
        if not asked or is_title or (not asks_all and self._lexicon.is_nearly_title(query)):
            return Understanding(words=query, noticed=everything.in_passing())
        return Understanding(
            words=analyse("") if asks_all else _left_over(query, firm),
            where=asked.to_filter(),
            asked=asked,
            noticed=_sum([one for one in phrases if one not in firm]).in_passing(),
        )

    def _phrases(self, query: QueryText) -> tuple[list[_Placed], list[str]]:
        """The phrases, and the words that are in none."""
        phrases: list[_Placed] = []
        rest: list[str] = []
        at, ended_at = 0, -2
        while at < len(query.words):
            found = phrase_at(query.words, at, self._lexicon)
            if found is None:
                rest.append(query.words[at])
                at += 1
                continue
            joined = at == ended_at + 1 and query.words[at - 1] == "or"
            phrases.append(_Placed(found, at, joined))
            at += found.length
            ended_at = at
        return phrases, rest


def _sum(phrases: Sequence[_Placed]) -> Facts:
    found = Facts()
    for one in phrases:
        found = found.either(one.phrase.facts) if one.joined else found + one.phrase.facts
    return found


def _is_one_thing(query: QueryText, everything: Facts, phrases: Sequence[_Placed]) -> bool:
    """Whether a single name or number is all of the query: the index knows better what it may be."""
    if len(phrases) != 1 or phrases[0].phrase.length != len(query.words):
        return False
    lone_person = len(everything.people) == 1 and everything.people[0].role is None
    lone_year = len(query.words) == 1 and any(first == last for first, last in everything.years)
    return lone_person or lone_year


def _left_over(query: QueryText, taken: Sequence[_Placed]) -> QueryText:
    """The words without those that became conditions."""
    gone = {one.at + offset for one in taken for offset in range(one.phrase.length)}
    words = [word for at, word in enumerate(query.words) if at not in gone]
    while words and words[0] in REQUEST_WORDS:
        words.pop(0)
    while words and words[-1] in FILLERS:
        words.pop()
    return analyse(" ".join(words))
