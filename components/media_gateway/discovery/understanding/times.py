"""Times in a query: decades, years, spans, as first and last year."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from media_gateway.discovery.text_index.analysis import decade_of, is_year
from media_gateway.discovery.understanding.facts import Span
from media_gateway.discovery.understanding.vocabulary import DECADE_WORDS, PARTS_OF_DECADES, TITLES_OF

_BEFORE = {
    ("before",): -1,
    ("until",): 0,
    ("till",): 0,
    ("up", "to"): 0,
    ("older", "than"): -1,
    ("earlier", "than"): -1,
    ("pre",): -1,
}
_AFTER = {("after",): 1, ("since",): 0, ("newer", "than"): 1, ("later", "than"): 1, ("post",): 1}
"""Words before a time that only its beginning or its end counts of, and how many years beyond it that is."""

_OF_RELEASE = {("from",), ("made", "in"), ("released", "in")}
_SAID = (("made", "in"), ("released", "in"), ("in",), ("from",), ("of",))
"""Words before a year that make it a condition rather than a number."""


_FIRST = frozenset(
    lead[0]
    for lead in (*_BEFORE, *_AFTER, *_SAID, ("between",), ("the",), ("this",), ("last",), ("nineteen",))
)
_POSSESSIVES = frozenset(["my", "your", "his", "her", "its", "our", "their"])


class Time(NamedTuple):
    """A time and how many words say it; ``firm`` if it is hardly that of the story."""

    length: int
    span: Span
    firm: bool


def time_at(words: Sequence[str], at: int) -> Time | None:
    """The time that begins at a word; "a man in his fifties" is none."""
    word = words[at]
    begins_one = word[0].isdigit() or word in DECADE_WORDS or word in PARTS_OF_DECADES or word in _FIRST
    if not begins_one or (at and words[at - 1] in _POSSESSIVES):
        return None
    return _between(words, at) or _open(words, at) or _relative(words, at) or _plain(words, at)


def _between(words: Sequence[str], at: int) -> Time | None:
    """``between 1950 and 1955``, ``from the 60s to the 80s``, ``1950-1955``."""
    opened = words[at] in {"between", "from"}
    start = at + opened
    first = _stretch(words, start)
    if first is None:
        return None
    then = start + first.length
    if (
        then < len(words)
        and words[then] in {"and", "to", "until", "till", "through"}
        and (opened or words[then] != "and")
    ):
        then += 1
    elif opened or not _is_year_at(words, then) or not _is_year_at(words, start):
        # Two years side by side are what is left of "1950-1955".
        return None
    last = _stretch(words, then)
    if last is None or last.span[1] is None or first.span[0] is None or last.span[1] < first.span[0]:
        return None
    return Time(then + last.length - at, (first.span[0], last.span[1]), firm=True)


def _is_year_at(words: Sequence[str], at: int) -> bool:
    return at < len(words) and is_year(words[at])


def _open(words: Sequence[str], at: int) -> Time | None:
    for table, is_before in ((_BEFORE, True), (_AFTER, False)):
        for lead, shift in table.items():
            if tuple(words[at : at + len(lead)]) != lead:
                continue
            stretch = _stretch(words, at + len(lead))
            if stretch is None:
                continue
            first, last = stretch.span
            assert first is not None
            assert last is not None
            edge = (first if shift else last) if is_before else (last if shift else first)
            span = (None, edge + shift) if is_before else (edge + shift, None)
            return Time(len(lead) + stretch.length, span, firm=True)
    return None


def _relative(words: Sequence[str], at: int) -> Time | None:
    shift = {"this year": 0, "last year": -1}.get(" ".join(words[at : at + 2]))
    if shift is None:
        return None
    year = datetime.now(UTC).year + shift
    return Time(2, (year, year), firm=False)


def _plain(words: Sequence[str], at: int) -> Time | None:
    for lead in (*_SAID, ()):
        if tuple(words[at : at + len(lead)]) != lead:
            continue
        start = at + len(lead)
        stretch = _stretch(words, start)
        if stretch is not None:
            length = len(lead) + stretch.length
            return Time(length, stretch.span, firm=stretch.firm and _is_of_release(words, at, length, lead))
    return None


def _is_of_release(words: Sequence[str], at: int, length: int, lead: tuple[str, ...]) -> bool:
    """Whether a decade is said of the film: "from the 80s", "80s films", "films of the 80s"; stories are set "in the 80s"."""
    after, before = words[at + length : at + length + 1], words[max(0, at - 1) : at]
    return lead in _OF_RELEASE or not TITLES_OF.isdisjoint((*after, *before))


def _stretch(words: Sequence[str], at: int) -> Time | None:
    """A year, a decade, or a part of one, with or without an article."""
    start = at + (at < len(words) and words[at] == "the")
    if start >= len(words):
        return None
    word = words[start]
    if is_year(word):
        return Time(start + 1 - at, (int(word), int(word)), firm=False)
    if (first := _decade(word)) is not None:
        return Time(start + 1 - at, (first, first + 9), firm=True)
    if word == "nineteen" and start + 1 < len(words) and words[start + 1] in DECADE_WORDS:
        first = DECADE_WORDS[words[start + 1]]
        return Time(start + 2 - at, (first, first + 9), firm=True)
    part = PARTS_OF_DECADES.get(word)
    if part is not None and start + 1 < len(words) and (first := _decade(words[start + 1])) is not None:
        return Time(start + 2 - at, (first + part[0], first + part[1]), firm=True)
    return None


def _decade(word: str) -> int | None:
    named = decade_of(word)
    return int(named[:4]) if named else DECADE_WORDS.get(word)
