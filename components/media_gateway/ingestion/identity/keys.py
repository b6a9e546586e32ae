"""What two records are compared by: exact ids and normalised titles. Pure; called by resolution and the store.

A change of any rule here changes stored columns (``title_key``, ``title_hash``, ``block_head``, ``block_tail``), so it
needs a re-ingest of everything.
"""

import re
import unicodedata
from hashlib import blake2b
from typing import NamedTuple

from media_gateway.core.domain.content import ContentType, Facts

ExactKey = tuple[str, str]
"""Kind and value of an exact id (``("imdb", "tt0111161")``); as in the table ``external_ids``."""

CONFIDENCE = {
    "eidr": 1.0,
    "imdb": 0.99,
    "tmdb": 0.99,
    "tvdb": 0.98,
    "gracenote": 0.98,
    "wikidata": 0.98,
    "platform": 0.97,
}
"""Confidence of a link by an equal id, by family. EIDR 1.0, IMDb and TMDb 0.99 are the original system's values; the
others rank below because their registries reuse or mistype ids more often."""

TITLE_KEY_LIMIT = 160
"""Longest title key, in characters: case folding can make a title many times longer, and an index entry has to fit a
third of a page. What is cut off is replaced by its digest, so that different titles stay different."""

BLOCK_LENGTH = 5
"""Letters of a title's head and tail that lead to fuzzy candidates. Two titles one edit apart and at least twice as
long as this agree in one of the two."""

SHORT_BLOCK_LENGTH = 3
SHORT_TITLE_LENGTH = 11
"""Titles shorter than this have blocks of three letters, so that the two blocks still don't overlap."""

FUZZY_LENGTH = 7
"""Shortest title with fuzzy candidates: one edit in fewer letters is already below a similarity of 0.85."""

# Only words that are no common first word of an English title in another sense ("Die Hard").
_ARTICLES = "the|a|an|le|la|les|el|los|las|der|das|il|gli|un|une|una|ein|eine"
_LEADING_ARTICLE = re.compile(rf"(?:{_ARTICLES})\s+(?=\S)|l['\u2019](?=\w)")
_TRAILING_ARTICLE = re.compile(rf"^(.+), ({_ARTICLES}|l['\u2019])$")
_MARKS = re.compile("[\u0300-\u036f]")
"""Combining marks of Latin, Greek and Cyrillic. Marks of Indic scripts are vowels and stay."""
_APOSTROPHES = re.compile("['\u2019\u02bc`\u00b4]")
_NO_WORD = re.compile(r"[\W_]+")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i", "&": " and "}
)
_NUMBER_WORDS = frozenset(
    {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
    | {"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"}
    | {"i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"}
    | {"xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii", "xviii", "xix", "xx"}
)


class TitleKeys(NamedTuple):
    """A record's title, ready to be compared.

    Attributes
    ----------
    key : str
        Normalised title, words separated by one space.
    compact : str
        The same without spaces; similarity is computed on it.
    scope : str
        What must be equal besides the title: content type, and for an episode its series and numbers.
    year : int | None
        Release year.
    title_hash : int | None
        64-bit hash of scope, year and key; None if the title alone says too little (no year, or an episode whose place
        in its series is unknown), then no title rule applies.
    block_head, block_tail : int | None
        64-bit hashes of scope, numbers in the title, and its first and last letters; None where `title_hash` is or the title is too short.
    """

    key: str
    compact: str
    scope: str
    year: int | None
    title_hash: int | None
    block_head: int | None
    block_tail: int | None

    def probes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Head and tail blocks under which a title one letter shorter or longer may stand."""
        if self.block_head is None or self.block_tail is None:
            return (), ()
        size = _block_size(len(self.compact))
        sizes = {size, _block_size(len(self.compact) - 1), _block_size(len(self.compact) + 1)}
        if len(sizes) == 1:
            return (self.block_head,), (self.block_tail,)
        blocks = [_blocks(self.scope, self.key, length) for length in sorted(sizes)]
        return tuple(head for head, _ in blocks), tuple(tail for _, tail in blocks)


def normalise_title(title: str) -> str:
    """The form in which titles are compared: NFKC, case folded, accents and punctuation gone, no leading article.

    ``"The Lord of the Rings: Part II"`` and ``"Lord of the Rings: Part II, The"`` give the same. A title that is all
    punctuation keeps it.
    """
    text = _folded(title)
    if "," in text:
        text = _TRAILING_ARTICLE.sub(r"\2 \1", text)
    if article := _LEADING_ARTICLE.match(text):
        text = text[article.end() :]
    words = _words(text) or text or title
    if len(words) <= TITLE_KEY_LIMIT:
        return words
    return f"{words[:TITLE_KEY_LIMIT]} {_hash(words) & 0xFFFFFFFFFFFFFFFF:016x}"


def normalise_name(name: str) -> str:
    """The form in which people's names are compared: as titles, but with nothing left out at the front."""
    return _words(_folded(name)) or name


def _folded(text: str) -> str:
    if text.isascii():
        return (text.replace("&", " and ") if "&" in text else text).casefold().strip()
    text = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFKD", text))).strip()


def _words(text: str) -> str:
    text = _APOSTROPHES.sub("", text)
    if text.isascii():
        return " ".join(_NO_WORD.sub(" ", text).split())
    # Marks are letters here: what is left of them are the vowels of Indic and other scripts, which \w doesn't hold.
    return " ".join("".join(c if _is_letter(c) else " " for c in text).split())


def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


def numbers(key: str) -> list[str]:
    """The words of a normalised title that count (digits, Roman numerals, number words), in order.

    Fuzzy titles must agree in them: "Part I" and "Part II" of one story differ by one letter and often by one year.
    """
    return [word for word in key.split(" ") if word in _NUMBER_WORDS or word.isdigit()]


def title_keys(record: Facts) -> TitleKeys:
    """Title keys of a record or content."""
    key = normalise_title(record.title)
    compact = key.replace(" ", "")
    scope = _scope(record)
    year = record.release_year
    if year is None or scope is None:
        return TitleKeys(key, compact, scope or record.content_type.value, year, None, None, None)
    head, tail = (
        _blocks(scope, key, _block_size(len(compact))) if len(compact) >= FUZZY_LENGTH else (None, None)
    )
    return TitleKeys(key, compact, scope, year, _hash(f"{scope}\n{year}\n{key}"), head, tail)


def exact_keys(record: Facts) -> tuple[ExactKey, ...]:
    """Exact ids of a record, strongest kind first.

    TMDb and TVDB number films, series and episodes separately, so their kinds carry the space of numbers
    (``tmdb:movie``, ``tmdb:tv``, ``tmdb:episode``).
    """
    ids = record.external_ids
    keys: list[ExactKey] = []
    if ids.eidr:
        keys.append(("eidr", ids.eidr))
    if ids.imdb:
        keys.append(("imdb", ids.imdb))
    if ids.tmdb:
        keys.append((f"tmdb:{_number_space(record)}", str(ids.tmdb)))
    if ids.tvdb:
        keys.append((f"tvdb:{_number_space(record)}", str(ids.tvdb)))
    if ids.gracenote:
        keys.append(("gracenote", ids.gracenote))
    if ids.wikidata:
        keys.append(("wikidata", ids.wikidata))
    if ids.platforms:
        keys.extend((f"platform:{name}", value) for name, value in sorted(ids.platforms.items()))
    return tuple(keys)


def confidence(key: ExactKey) -> float:
    """How sure a link by this equal id is, in (0, 1]."""
    return CONFIDENCE[key[0].split(":", 1)[0]]


def _number_space(record: Facts) -> str:
    match record.content_type:
        case ContentType.EPISODE:
            return "episode"
        case ContentType.SERIES:
            return "tv"
        case ContentType.MOVIE:
            return "movie"
        case ContentType.SHORT | ContentType.DOCUMENTARY | ContentType.SPECIAL:
            # These are series there if they have seasons or episodes.
            series = record.series
            return "tv" if series and (series.total_seasons or series.total_episodes) else "movie"


def _scope(record: Facts) -> str | None:
    if record.content_type is not ContentType.EPISODE:
        return record.content_type.value
    series = record.series
    if (
        not series
        or series.series_id is None
        or series.season_number is None
        or series.episode_number is None
    ):
        return None
    return f"episode {series.series_id} {series.season_number} {series.episode_number}"


def _block_size(length: int) -> int:
    return BLOCK_LENGTH if length >= SHORT_TITLE_LENGTH else SHORT_BLOCK_LENGTH


def _blocks(scope: str, key: str, size: int) -> tuple[int, int]:
    # The numbers must agree anyway; in the block they keep a thousand "Chapter 1" … "Chapter 1000" apart.
    compact, place = key.replace(" ", ""), f"{scope}\n{' '.join(numbers(key))}\n{size}"
    return _hash(f"{place}\n{compact[:size]}"), _hash(f"{place}\n{compact[-size:]}")


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), signed=True)
