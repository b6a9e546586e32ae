"""Words as the text index sees them: the same folding for what is stored and what is asked.

Called by the text index, the match reasons and the service. Pure functions, no index library.
"""

import re
import unicodedata
from dataclasses import dataclass

MAX_TERMS = 32
"""Most words of a query that are looked up; more add cost and no precision."""

GRAM_LENGTH = 3
"""Letters of a title gram. Three keep 54 % of the grams of a ten-letter title after two typos."""

GRAM_QUERY_LIMIT = 80
"""Longest folded query compared with titles letter by letter; what is longer is a description."""

_APOSTROPHES = re.compile("['`\u2019\u2018\u00b4\u02bc]")
_NOT_WORDS = re.compile(r"[\W_]+")
_LEADING_ARTICLE = re.compile(r"^(?:the|a|an|le|la|les|el|los|las|der|das|il|gli|un|une|una|ein|eine) (?=.)")
"""Without "die": it begins as many English titles as German ones."""

_SUBTITLE = re.compile(r"(?<=\w)\s*:\s+|\s+[–—-]\s+")
_SEQUEL = re.compile(r"(.+?) (?:(?:part|volume|vol|chapter|episode) )?(?:\d{1,4}|[ivx]{1,5})")
_YEAR = re.compile(r"^(?:18|19|20)\d\d$")

_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i", "&": " and "}
)
"""Latin letters that Unicode normalisation leaves whole though people type them plain, and the ampersand."""

_FUNCTION_WORDS = (
    "a an and are as at be by for from has have he her his i in into is it its me my of on or our she that the their "
    "them they this to was we were what when where which who will with you your about some any"
)
_REQUEST_WORDS = "film films movie movies show shows watch find"
STOPWORDS = frozenset(f"{_FUNCTION_WORDS} {_REQUEST_WORDS}".split())
"""Left out of a query unless nothing else is in it; titles made of them are found by their whole title."""


def fold(text: str) -> str:
    """Lower case without accents, apostrophes and punctuation, words parted by one space.

    Text without any letter or digit folds to itself (the film called ``$``), so that it can still be found whole.
    """
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_UNDECOMPOSED))
        text = unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))
    folded = text.casefold().replace("&", " and ")
    words = _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", folded)).strip()
    return words or folded.strip()


def loose(folded: str) -> str:
    """A folded title without its leading article and without spaces: ``spiderman`` for ``the spider man``."""
    return _LEADING_ARTICLE.sub("", folded).replace(" ", "")


def series_keys(title: str) -> tuple[str, ...]:
    """The loose forms of what a title shares with its sequels: without subtitle, without number, without both."""
    main = fold(_SUBTITLE.split(title, maxsplit=1)[0])
    shared = [main, *(match[1] for text in (fold(title), main) if (match := _SEQUEL.fullmatch(text)))]
    whole = loose(fold(title))
    return tuple(dict.fromkeys(form for form in map(loose, shared) if form and form != whole))


def padded(folded: str) -> str:
    """A folded title with the margins that give its first letter and its word ends grams of their own."""
    return f"  {folded} "


def grams(folded: str) -> list[str]:
    """The distinct grams of a folded title, in order."""
    text = padded(folded)
    return list(dict.fromkeys(text[i : i + GRAM_LENGTH] for i in range(len(text) - GRAM_LENGTH + 1)))


@dataclass(frozen=True, slots=True)
class QueryText:
    """A query taken apart; made by `analyse`.

    Attributes
    ----------
    text : str
        What the caller wrote, trimmed.
    key : str
        All of it, folded.
    words : tuple[str, ...]
        The words of the key in order, at most `MAX_TERMS`.
    terms : tuple[str, ...]
        The distinct words worth looking up.
    title_and_year : tuple[str, int] | None
        Folded title and year, when the query ends with a year (``heat 1995``).
    """

    text: str
    key: str
    words: tuple[str, ...]
    terms: tuple[str, ...]
    title_and_year: tuple[str, int] | None


def analyse(text: str) -> QueryText:
    """Take a query apart. Every string is accepted: signs that mean something to an index mean nothing here."""
    key = fold(text)
    words = key.split()[:MAX_TERMS]
    terms = dict.fromkeys([word for word in words if word not in STOPWORDS] or words)
    title, _, last = key.rpartition(" ")
    return QueryText(
        text=text.strip(),
        key=key,
        words=tuple(words),
        terms=tuple(terms),
        title_and_year=(title, int(last)) if title and _YEAR.match(last) else None,
    )


def allowed_typos(word: str) -> int:
    """How many letters of a word may be wrong: none below 4 letters, one below 8, else two."""
    return 0 if len(word) < 4 else 1 if len(word) < 8 else 2
