"""Words as the text index sees them: the same folding for what is stored and what is asked.

Called by the text index, the match reasons and the service. Pure functions, no index library.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from media_gateway.discovery.filters import SearchFilter

MAX_WORDS = 100
"""Words of a query that are looked at. A platform's synopsis of a film is seldom longer."""

GRAM_LENGTH = 3
"""Letters of a title gram. Three keep 54 % of the grams of a ten-letter title after two typos."""

GRAM_QUERY_LIMIT = 80
"""Longest folded query compared with titles letter by letter; what is longer is a description."""

SHORT = 80
"""Longest text, in characters, whose folded form is remembered for a while (4 MB): a name or title is folded several times
for one document, and again for its reasons."""

_APOSTROPHES = re.compile("['`\u2019\u2018\u00b4\u02bc]")
_NOT_WORDS = re.compile(r"[\W_]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_LEADING_ARTICLE = re.compile(r"^(?:the|a|an|le|la|les|el|los|las|der|das|il|gli|un|une|una|ein|eine) (?=.)")
"""Without "die": it begins as many English titles as German ones."""

_SUBTITLE = re.compile(r"(?<=\w)\s*:\s+|\s+[–—-]\s+")
_SEQUEL = re.compile(r"(.+?) (?:(?:part|volume|vol|chapter|episode) )?(?:\d{1,4}|[ivx]{1,5})")
_YEAR = re.compile(r"^(?:18|19|20)\d\d$")
_DECADE = re.compile(r"(?:19|20)?\d0s")

_ROMAN = "ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx"
_NUMBER_WORDS = "one two three four five six seven eight nine ten"
_PARTICLE_WORDS = "de del della di da dos du van von der den ten la le el"

_NUMERALS = {numeral: str(number) for number, numeral in enumerate(_ROMAN.split(), 2)}
_NUMBERS = {word: str(n) for n, word in enumerate(_NUMBER_WORDS.split(), 1)}
_AFTER_PART = _NUMERALS | _NUMBERS | {"i": "1"}
"""What is a number after "part", where a lone letter or a word can't be anything else."""

_AT_END = {numeral: number for numeral, number in _NUMERALS.items() if numeral != "x"}
"""What is a number at the end of a title: there is a fifth "Rocky V", but "Malcolm X" is no tenth."""

_ANYWHERE = {numeral: number for numeral, number in _AT_END.items() if numeral != "v"}
_PART = re.compile(r"(.+?) (?:part|volume|vol|chapter|episode) (\w+)( .*)?")
_NUMBERED = re.compile(r"(.+) (\w+)()")

_NAME_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv"})
_PARTICLES = frozenset(_PARTICLE_WORDS.split())

_SOUNDS = (
    (re.compile(r"\bkn"), "n"),
    (re.compile(r"\bwr"), "r"),
    (re.compile(r"ight\b"), "ite"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"ck"), "k"),
    (re.compile(r"(.)\1"), r"\1"),
)
"""Spellings of one sound that people take for each other, applied in order."""

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
    return _folded_once(text) if len(text) <= SHORT else _folded(text)


def _folded(text: str) -> str:
    if text.isascii():
        # Most names and titles are plain words, and every one of a page's is folded.
        plain = text.lower().split()
        if "".join(plain).isalpha():
            return " ".join(plain)
    else:
        text = _NOT_ASCII.sub(_without_accents, text)
    folded = text.casefold().replace("&", " and ")
    words = _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", folded)).strip()
    return words or folded.strip()


def _without_accents(found: re.Match[str]) -> str:
    return _plain(found[0])


@lru_cache(maxsize=1 << 12)
def _plain(letters: str) -> str:
    """Letters beyond ASCII without what was put on them; of most texts they are a few, and always the same."""
    decomposed = unicodedata.normalize("NFKD", letters.casefold().translate(_UNDECOMPOSED))
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


_folded_once = lru_cache(maxsize=1 << 14)(_folded)


def without_article(folded: str) -> str:
    """A folded title without its leading article, unless that is all of it."""
    return _LEADING_ARTICLE.sub("", folded)


def loose(folded: str) -> str:
    """A folded title without its leading article and without spaces: ``spiderman`` for ``the spider man``."""
    return without_article(folded).replace(" ", "")


def series_keys(title: str) -> tuple[str, ...]:
    """The loose forms of what a title shares with its sequels: without subtitle, without number, without both."""
    main = fold(_SUBTITLE.split(title, maxsplit=1)[0])
    shared = [main, *(match[1] for text in (fold(title), main) if (match := _SEQUEL.fullmatch(text)))]
    whole = loose(fold(title))
    return tuple(dict.fromkeys(form for form in map(loose, shared) if form and form != whole))


def sequel_keys(title: str, *, continued: bool = True) -> tuple[str, ...]:
    """A numbered title as base and number, however either is written: ``godfather2`` for ``The Godfather Part II``.

    Parameters
    ----------
    continued
        Words may follow the number without a sign before them.
    """
    keys = []
    for text in (fold(title), fold(_SUBTITLE.split(title, maxsplit=1)[0])):
        for pattern, numerals in ((_PART, _AFTER_PART), (_NUMBERED, _AT_END)):
            match = pattern.fullmatch(text)
            if match and (continued or not match[3]):
                base, number = loose(match[1]), numerals.get(match[2], match[2])
                if base and number.isascii() and number.isdigit() and len(number) <= 2:
                    keys.append(f"{base}{int(number)}")
                    break
    return tuple(dict.fromkeys(keys))


def with_digits(folded: str) -> str:
    """Folded text with its Roman numerals as digits, but for single letters, which are more often something else."""
    return " ".join(_ANYWHERE.get(word, word) for word in folded.split(" "))


def sound(folded: str) -> str:
    """The loose form of a folded title with spellings of one sound made equal: ``darknite`` for ``the dark knight``."""
    for pattern, replacement in _SOUNDS:
        folded = pattern.sub(replacement, folded)
    return loose(folded)


def decade_of(word: str) -> str | None:
    """The decade a folded word names, as ``1980s``: two digits mean 1920 to 2019."""
    if not _DECADE.fullmatch(word):
        return None
    return word if len(word) == len("1980s") else f"{'20' if word < '20s' else '19'}{word}"


def is_year(word: str) -> bool:
    """Whether a folded word is a year."""
    return _YEAR.match(word) is not None


def singular(word: str) -> str:
    """A folded English word without its plural: all the stemming keywords get, as stems make box of boxing."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    return f"{word[:-3]}y" if word.endswith("ies") else word[:-1]


def name_keys(folded: str) -> tuple[str, ...]:
    """What a person's folded name is asked by, without spaces: all of it, without "Jr.", and first and last name."""
    first, _, last = folded.partition(" ")
    if last and " " not in last:
        # Most names are two words, and a catalogue has a dozen of them a content.
        return (f"{first}{last}",)
    words = folded.split()
    short = _without_suffix(words)
    return tuple(dict.fromkeys(("".join(words), "".join(short), f"{short[0]}{short[-1]}"))) if words else ()


def _without_suffix(words: list[str]) -> list[str]:
    return words[:-1] if len(words) > 2 and words[-1] in _NAME_SUFFIXES else words


def last_names(folded: str) -> tuple[str, ...]:
    """The last name in a folded name, also with the particles before it: ``niro`` and ``deniro``."""
    last = folded.partition(" ")[2]
    if last and " " not in last:
        return (last,)
    words = _without_suffix(folded.split())
    if len(words) < 2:
        return ()
    start = len(words) - 1
    while start > 1 and words[start - 1] in _PARTICLES:
        start -= 1
    return tuple(dict.fromkeys((words[-1], "".join(words[start:]))))


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
        The words of the key in order, at most `MAX_WORDS`.
    terms : tuple[str, ...]
        The distinct words worth looking up.
    title_and_year : tuple[str, int] | None
        Folded title and year, when the query ends with a year (``heat 1995``).
    kind : SearchFilter | None
        What all of it asks for together, if it names nothing but kinds, times, people and the like (``80s horror``).
    """

    text: str
    key: str
    words: tuple[str, ...]
    terms: tuple[str, ...]
    title_and_year: tuple[str, int] | None
    kind: SearchFilter | None = None


def analyse(text: str) -> QueryText:
    """Take a query apart. Every string is accepted: signs that mean something to an index mean nothing here."""
    key = fold(text)
    words = key.split()[:MAX_WORDS]
    terms = dict.fromkeys([word for word in words if word not in STOPWORDS] or words)
    title, _, last = key.rpartition(" ")
    return QueryText(
        text=text.strip(),
        key=key,
        words=tuple(words),
        terms=tuple(terms),
        title_and_year=(title, int(last)) if title and is_year(last) else None,
    )


def allowed_typos(word: str) -> int:
    """How many letters of a word may be wrong: none below 4 letters, one below 8, else two."""
    return 0 if len(word) < 4 else 1 if len(word) < 8 else 2
