"""Fields of the text index and how a content becomes a document of it. Used by the text index only."""

import re
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from uuid import UUID

import tantivy

from media_gateway.discovery.documents import IndexedContent, Offer
from media_gateway.discovery.filters import MATURITY_LEVELS
from media_gateway.discovery.text_index.analysis import (
    SHORT,
    fold,
    last_names,
    loose,
    name_keys,
    padded,
    sequel_keys,
    series_keys,
    singular,
    sound,
    with_digits,
)
from media_gateway.discovery.text_index.wording import Wording

STEMMED, PLAIN, GRAMS, WHOLE, KEYS = "stemmed", "plain", "grams", "raw", "whitespace"
"""Names of tokenizers; the first three are ours and are registered on every index after it is made. Keys hold no white
space and are given in one text: a value costs more than a word."""

POPULARITY_WEIGHT = 0.25
"""Most that popularity adds to a score, as a share of it: it parts equals and never lifts a poor match over a good one."""

LEADS = 3
"""Actors taken for leads of a content whose description names none."""

CREDITED_ROLES = ("director", "writer")
"""Roles a person can be asked for in; of the others a cast says too little."""

GENRE_WORDS = {
    "science_fiction": ("sci fi", "scifi", "sf"),
    "romance": ("romantic",),
    "music": ("musical",),
    "comedy": ("funny",),
}
"""Other words people use for a genre."""

_CONFUSED = (
    "boxing",
    "universal",
    "university",
    "organization",
    "general",
    "generation",
    "policy",
    "marketing",
)
_NOT_STEMMED = re.compile(rf"\b(?:{'|'.join(_CONFUSED)})\b")
"""Words of films that the stemmer confuses with others: a box, the universe, an organ, the police, a market."""

_stemmer = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.stemmer("english")).build()
)


def build_schema() -> tantivy.Schema:
    """The fields. Text is folded before it comes here, so tokenizers only split and stem."""
    builder = tantivy.SchemaBuilder()
    for name in (
        "id",
        "title_key",
        "title_loose",
        "title_series",
        "title_number",
        "title_sound",
        "language",
        "content_type",
    ):
        builder.add_text_field(name, tokenizer_name=WHOLE, index_option="basic")
    for name in ("person_key", "last_name", "lead_name", "credit", "offer", "year"):
        builder.add_text_field(name, tokenizer_name=KEYS, index_option="basic")
    for name in ("genre", "platform"):
        # Also column by column, to be counted.
        builder.add_text_field(name, tokenizer_name=WHOLE, index_option="basic", fast=True)
    for name in ("title", "genres", "overview"):
        builder.add_text_field(name, tokenizer_name=STEMMED, index_option="freq")
    builder.add_text_field("keywords", tokenizer_name=PLAIN, index_option="freq")
    builder.add_text_field("people", tokenizer_name=PLAIN, index_option="basic")
    builder.add_text_field("title_grams", tokenizer_name=GRAMS, index_option="freq")
    builder.add_integer_field("release_year", indexed=True, fast=True)
    builder.add_float_field("rating", indexed=True, fast=True)
    builder.add_integer_field("maturity_level", indexed=True)
    builder.add_float_field("prior", fast=True)
    builder.add_unsigned_field("id_high", fast=True)
    builder.add_unsigned_field("id_low", fast=True)
    builder.add_bytes_field("card", stored=True)
    builder.add_bytes_field("wording", stored=True)
    return builder.build()


def register_tokenizers(index: tantivy.Index) -> None:
    """Make our tokenizers known to an index that was just made or opened."""
    index.register_tokenizer(STEMMED, _stemmer)
    index.register_tokenizer(PLAIN, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build())
    index.register_tokenizer(GRAMS, tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.ngram(3, 3)).build())


def stems(folded: str) -> list[str]:
    """The stemmed words of folded text, as the stemmed fields keep them."""
    return list(_stems_once(folded)) if len(folded) <= SHORT else _stemmed(folded)


def _stemmed(folded: str) -> list[str]:
    return _stemmer.analyze(_guarded(folded))


@lru_cache(maxsize=1 << 13)
def _stems_once(folded: str) -> tuple[str, ...]:
    """Of single words and titles: the words of a query are stemmed for every field, and again for each result's reasons."""
    return tuple(_stemmed(folded))


def _guarded(folded: str) -> str:
    """Text in which a digit keeps the stemmer away from words it would make the same as others."""
    # Looked for first, which is ten times as fast, and few texts have any.
    return _NOT_STEMMED.sub(r"\g<0>0", folded) if any(word in folded for word in _CONFUSED) else folded


def wording_of(content: IndexedContent) -> Wording:
    """What a content says of itself, word by word."""
    return _wording(content, _Folded(content))


def _wording(content: IndexedContent, folded: "_Folded") -> Wording:
    facts = [stem for title in folded.titles for stem in stems(with_digits(title))]
    facts += [stem for genre in content.genres for stem in _genre_stems(genre)]
    facts += [word for words in folded.keywords for word in words]
    if content.release_year is not None:
        facts += [str(content.release_year), f"{content.release_year // 10}0s"]
    return Wording(
        overview=tuple(stems(folded.overview)), facts=tuple(dict.fromkeys(facts)), names=tuple(folded.names)
    )


@lru_cache(maxsize=256)
def _genre_stems(genre: str) -> tuple[str, ...]:
    return tuple(stems(genre_words(genre)))


@lru_cache(maxsize=256)
def genre_words(genre: str) -> str:
    """The words a genre is found by, folded."""
    return " ".join((fold(genre.replace("_", " ")), *GENRE_WORDS.get(genre, ())))


def keyword_words(keyword: str) -> list[str]:
    """The words a keyword is found by, in order."""
    return [singular(word) for word in fold(keyword).split()]


class _Folded:
    """The texts of a content, folded once: several parts of the document are made of each.

    Attributes
    ----------
    people : list[tuple[str, str]]
        Roles and names.
    names : dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
        `name_keys` and `last_names` of each distinct name.
    """

    __slots__ = ("keywords", "names", "overview", "people", "titles")

    def __init__(self, content: IndexedContent) -> None:
        self.overview = fold(content.overview or "")
        self.titles = [fold(title) for title in content.titles]
        self.keywords = [keyword_words(keyword) for keyword in content.keywords]
        self.people = [(person.role, fold(person.name)) for person in content.people]
        self.names = {
            name: (name_keys(name), last_names(name))
            for name in dict.fromkeys(name for _, name in self.people)
        }

    def of_role(self, role: str) -> list[str]:
        """Names of those with a role."""
        return [name for theirs, name in self.people if theirs == role]


def document_of(content: IndexedContent) -> tantivy.Document:
    """The document of a content."""
    document = tantivy.Document()
    folded = _Folded(content)
    document.add_text("id", str(content.content_id))
    high, low = split_id(content.content_id)
    document.add_unsigned("id_high", high)
    document.add_unsigned("id_low", low)
    _add_titles(document, content, folded.titles)
    _add_people(document, folded)
    for genre in content.genres:
        document.add_text("genre", genre)
    document.add_text("genres", " ".join(map(genre_words, content.genres)))
    _add_conditions(document, content)
    document.add_text("keywords", " ".join(" ".join(words) for words in folded.keywords))
    document.add_text("overview", _guarded(folded.overview))
    if content.release_year is not None:
        document.add_text("year", f"{content.release_year} {content.release_year // 10}0s")
        document.add_integer("release_year", content.release_year)
    document.add_float("prior", prior_of(content))
    document.add_bytes("card", content.to_bytes())
    document.add_bytes("wording", _wording(content, folded).to_bytes())
    return document


def _add_keys(document: tantivy.Document, field: str, keys: Iterable[str]) -> None:
    """Each key once, in one text."""
    if text := " ".join(dict.fromkeys(keys)):
        document.add_text(field, text)


def _add_conditions(document: tantivy.Document, content: IndexedContent) -> None:
    document.add_text("content_type", content.content_type)
    for platform in content.platforms:
        document.add_text("platform", platform)
    _add_keys(document, "offer", (key for offer in content.offers for key in offer_keys(offer)))
    for language in content.languages:
        document.add_text("language", language)
    if content.average_rating is not None:
        document.add_float("rating", content.average_rating)
    level = MATURITY_LEVELS.get(content.maturity_rating) if content.maturity_rating else None
    if level is not None:
        document.add_integer("maturity_level", level)


@lru_cache(maxsize=1 << 12)
def offer_keys(offer: Offer) -> tuple[str, ...]:
    """An offering by all three of its facts and by each choice of them, so that a filter is a look-up of one key.

    Remembered, as the catalogue has few: platforms by regions by ways to watch.
    """
    choices = product((offer.platform, ""), (offer.region, ""), (offer.availability_type, ""))
    return tuple(offer_key(*choice) for choice in choices)


def offer_key(platform: str, region: str, availability_type: str) -> str:
    """The key of offerings with these facts; an empty one is not asked for."""
    return f"{platform}|{region}|{availability_type}"


def _add_people(document: tantivy.Document, folded: _Folded) -> None:
    names = folded.names
    # Words are counted, not placed, so all names can be one text.
    document.add_text("people", " ".join(names))
    _add_keys(document, "person_key", (key for keys, _ in names.values() for key in keys))
    _add_keys(document, "last_name", (key for _, keys in names.values() for key in keys))
    credited = ((role, names[name]) for role in CREDITED_ROLES for name in folded.of_role(role))
    _add_keys(
        document,
        "credit",
        (credit_key(role, key) for role, (keys, lasts) in credited for key in (*keys, *lasts)),
    )
    _add_keys(document, "lead_name", (key for name in _leads(folded) for key in names[name][1]))


def credit_key(role: str, name: str) -> str:
    """The key of contents for which somebody of a name, written without spaces, did something."""
    return f"{role}|{name}"


def _leads(folded: _Folded) -> list[str]:
    """Names of directors and of leads: who is named in the description, or else the first in the cast.

    The description first, because many catalogues list a cast by alphabet.
    """
    overview = f" {folded.overview} "
    actors = folded.of_role("actor")
    told_of = [name for name in actors if f" {name} " in overview]
    return folded.of_role("director") + (told_of or actors[:LEADS])


def _add_titles(document: tantivy.Document, content: IndexedContent, folded: Sequence[str]) -> None:
    keys = dict.fromkeys(folded)
    document.add_text("title", " ".join(_guarded(with_digits(key)) for key in keys))
    for key in keys:
        document.add_text("title_key", key)
        document.add_text("title_loose", loose(key))
        document.add_text("title_sound", sound(key))
    for key in dict.fromkeys(key for title in content.titles for key in series_keys(title)):
        document.add_text("title_series", key)
    for key in dict.fromkeys(key for title in content.titles for key in sequel_keys(title)):
        document.add_text("title_number", key)
    # Only the title people know: many translations would make each of them look like a poor match.
    document.add_text("title_grams", padded(folded[0]))


def prior_of(content: IndexedContent) -> float:
    """What the index multiplies a score by, in the form that its ``weight_by_field`` wants.

    The library weighs by log2(2 + value), so the value is 2**w - 2 for a wanted weight w (1 to 1.25). The last part, made
    of the id, gives equal scores one order in every replica.
    """
    tie_break = (content.content_id.int & 0xFFFF) / 0xFFFF * 1e-4
    weight = 1.0 + POPULARITY_WEIGHT * min(1.0, max(0.0, content.popularity_score or 0.0)) + tie_break
    return float(2.0**weight - 2.0)


def split_id(content_id: UUID) -> tuple[int, int]:
    """The two unsigned 64-bit halves of an id, as the fast fields keep them."""
    high, low = struct.unpack(">QQ", content_id.bytes)
    return int(high), int(low)


def join_id(high: int, low: int) -> UUID:
    """The id of two halves."""
    return UUID(int=high << 64 | low)
