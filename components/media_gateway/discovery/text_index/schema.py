"""Fields of the text index and how a content becomes a document of it. Used by the text index only."""

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
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

STEMMED, PLAIN, GRAMS, WHOLE = "stemmed", "plain", "grams", "raw"
"""Names of tokenizers; the first three are ours and are registered on every index after it is made."""

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
        "person_key",
        "last_name",
        "lead_name",
        "credit",
        "offer",
        "language",
        "content_type",
    ):
        builder.add_text_field(name, tokenizer_name=WHOLE, index_option="basic")
    for name in ("genre", "platform"):
        # Also column by column, to be counted.
        builder.add_text_field(name, tokenizer_name=WHOLE, index_option="basic", fast=True)
    for name in ("title", "genres", "overview"):
        builder.add_text_field(name, tokenizer_name=STEMMED, index_option="freq")
    builder.add_text_field("keywords", tokenizer_name=PLAIN, index_option="freq")
    builder.add_text_field("people", tokenizer_name=PLAIN, index_option="basic")
    builder.add_text_field("year", tokenizer_name=WHOLE, index_option="basic")
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


def wording_of(content: IndexedContent, overview: str) -> Wording:
    """What a content says of itself, word by word; ``overview`` is folded."""
    facts = [stem for title in content.titles for stem in stems(with_digits(fold(title)))]
    facts += [stem for genre in content.genres for stem in _genre_stems(genre)]
    facts += [word for keyword in content.keywords for word in keyword_words(keyword)]
    if content.release_year is not None:
        facts += [str(content.release_year), f"{content.release_year // 10}0s"]
    return Wording(
        overview=tuple(stems(overview)),
        facts=tuple(dict.fromkeys(facts)),
        names=tuple(dict.fromkeys(fold(person.name) for person in content.people)),
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


def document_of(content: IndexedContent) -> tantivy.Document:
    """The document of a content."""
    document = tantivy.Document()
    # Folded once: it is the longest text, and three parts of the document are made of it.
    overview = fold(content.overview or "")
    document.add_text("id", str(content.content_id))
    high, low = split_id(content.content_id)
    document.add_unsigned("id_high", high)
    document.add_unsigned("id_low", low)
    _add_titles(document, content)
    _add_people(document, content, overview)
    for genre in content.genres:
        document.add_text("genre", genre)
        document.add_text("genres", genre_words(genre))
    _add_conditions(document, content)
    document.add_text("keywords", " ".join(" ".join(keyword_words(keyword)) for keyword in content.keywords))
    document.add_text("overview", _guarded(overview))
    if content.release_year is not None:
        document.add_text("year", str(content.release_year))
        document.add_text("year", f"{content.release_year // 10}0s")
        document.add_integer("release_year", content.release_year)
    document.add_float("prior", prior_of(content))
    document.add_bytes("card", content.to_bytes())
    document.add_bytes("wording", wording_of(content, overview).to_bytes())
    return document


def _add_conditions(document: tantivy.Document, content: IndexedContent) -> None:
    document.add_text("content_type", content.content_type)
    for platform in content.platforms:
        document.add_text("platform", platform)
    for key in dict.fromkeys(key for offer in content.offers for key in offer_keys(offer)):
        document.add_text("offer", key)
    for language in content.languages:
        document.add_text("language", language)
    if content.average_rating is not None:
        document.add_float("rating", content.average_rating)
    level = MATURITY_LEVELS.get(content.maturity_rating) if content.maturity_rating else None
    if level is not None:
        document.add_integer("maturity_level", level)


def offer_keys(offer: Offer) -> Iterator[str]:
    """An offering by all three of its facts and by each choice of them, so that a filter is a look-up of one key."""
    for platform in (offer.platform, ""):
        for region in (offer.region, ""):
            for kind in (offer.availability_type, ""):
                yield offer_key(platform, region, kind)


def offer_key(platform: str, region: str, availability_type: str) -> str:
    """The key of offerings with these facts; an empty one is not asked for."""
    return f"{platform}|{region}|{availability_type}"


def _add_people(document: tantivy.Document, content: IndexedContent, overview: str) -> None:
    for name in dict.fromkeys(fold(person.name) for person in content.people):
        document.add_text("people", name)
        for key in name_keys(name):
            document.add_text("person_key", key)
        for key in last_names(name):
            document.add_text("last_name", key)
    for role in CREDITED_ROLES:
        names = (fold(person.name) for person in content.people if person.role == role)
        for key in dict.fromkeys(key for name in names for key in (*name_keys(name), *last_names(name))):
            document.add_text("credit", credit_key(role, key))
    for key in dict.fromkeys(key for name in _leads(content, overview) for key in last_names(name)):
        document.add_text("lead_name", key)


def credit_key(role: str, name: str) -> str:
    """The key of contents for which somebody of a name, written without spaces, did something."""
    return f"{role}|{name}"


def _leads(content: IndexedContent, overview: str) -> list[str]:
    """Folded names of directors and of leads: who is named in the description, or else the first in the cast.

    The description first, because many catalogues list a cast by alphabet.
    """
    overview = f" {overview} "
    actors = [fold(person.name) for person in content.people if person.role == "actor"]
    told_of = [name for name in actors if f" {name} " in overview]
    directors = [fold(person.name) for person in content.people if person.role == "director"]
    return directors + (told_of or actors[:LEADS])


def _add_titles(document: tantivy.Document, content: IndexedContent) -> None:
    for key in dict.fromkeys(fold(title) for title in content.titles):
        document.add_text("title", _guarded(with_digits(key)))
        document.add_text("title_key", key)
        document.add_text("title_loose", loose(key))
        document.add_text("title_sound", sound(key))
    for key in dict.fromkeys(key for title in content.titles for key in series_keys(title)):
        document.add_text("title_series", key)
    for key in dict.fromkeys(key for title in content.titles for key in sequel_keys(title)):
        document.add_text("title_number", key)
    # Only the title people know: many translations would make each of them look like a poor match.
    document.add_text("title_grams", padded(fold(content.title)))


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
