"""A query text to an index query, made of single terms: user input never meets the index's own query syntax.

Used by the text index only. Scores have tiers that can't overlap, so that a title match comes first whatever BM25 says of
the rest; popularity weighs inside a tier.
"""

import math
from collections.abc import Mapping, Sequence

import tantivy
from tantivy import Occur, Query

from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.text_index.analysis import (
    QueryText,
    allowed_typos,
    decade_of,
    fold,
    grams,
    loose,
    name_keys,
    sequel_keys,
    series_keys,
    singular,
    sound,
    with_digits,
)
from media_gateway.discovery.text_index.conditions import filtered
from media_gateway.discovery.text_index.frequencies import Frequencies
from media_gateway.discovery.text_index.schema import keyword_words, stems

EXACT_TIER = 1_000_000.0
"""Score of a whole title (with its year, if one was given)."""

LOOSE_TIER = 100_000.0
"""Score of a whole title but for its article or its spaces, or for how its number is written."""

SERIES_TIER = 20_000.0
"""Score of a title that continues after the query with a subtitle or a number."""

PERSON_TIER = 10_000.0
"""Score of a content whose people bear the name that is the whole query."""

LAST_NAME_TIER = 6_000.0
"""Score of a content with a director or lead whose last name is the whole query."""

KIND_TIER = 4_000.0
"""Score of a content of the kind that is all the query asks for."""

NAMES_PER_TITLE = 3
"""A word is meant as a last name if it is that of so many times more directors and leads than titles have it: true of
"kubrick", about whom there are films, and not of "king"."""

NAME_SCORE = 30.0
"""Score of a person's full name inside a longer query: about one rare word in a title."""

NAME_LENGTHS = (4, 3, 2)
"""Words of a full name, longest first."""

FIELD_BOOSTS = {
    "title": 3.0,
    "people": 2.5,
    "last_name": 2.5,
    "year": 2.0,
    "genres": 1.5,
    "keywords": 1.2,
    "overview": 1.0,
}
"""Weight of a word by where it stands; title over people over the rest as measured best on descriptions of films."""

DESCRIPTION_BOOSTS = {
    "title": 0.7,
    "people": 1.0,
    "last_name": 1.0,
    "year": 1.0,
    "genres": 0.5,
    "keywords": 1.0,
    "overview": 1.0,
}
"""The same for a description: who tells what happens in a film has no title in mind, and "young" or "night" in a title are
chance. Best of those tried on descriptions of 422 films (docs/search.md)."""

DESCRIPTION_WORDS = 8
"""A query with at least so many words worth looking up, names counted as one, is a description."""

DESCRIPTION_NEEDED = 2
"""Words of a description that a content must have. The describer's words are mostly not the catalogue's: a quarter of them
leaves out one in five of the films described, two of them none; the order is what counts."""

MAX_TERMS = 24
"""Words of a query that are looked up, the rarest: leaving out the others changes nothing but the cost."""

UNSCALED_FIELDS = frozenset({"people", "last_name", "year", "genres"})
"""Fields whose length says nothing: a film is not less one of an actor's for naming more of its cast."""

TIE_BREAKER = 0.1
"""Share that a word's other fields add to its best one."""

TYPO_SCORE = 5.0
"""Constant score of a word found only by correcting it: below the same word written right."""

LEADING = 8
"""People of a content, best billed first, whose other works are like it."""

NEAR_TIME = 1.0
"""Weight of being of about the same time, among what makes contents like each other."""

SURE = 10.0
"""Weight of whole titles among those that are like a query, so that they are among the candidates."""

GRAM_SHARE = 0.6
"""Share of the query's title grams a title must have: two typos in a title of ten letters leave 54 to 62 %."""

TIERS = (
    (EXACT_TIER, 1.0),
    (LOOSE_TIER, 0.95),
    (SERIES_TIER, 0.92),
    (PERSON_TIER, 0.9),
    (LAST_NAME_TIER, 0.88),
    (KIND_TIER, 0.86),
)
"""Scores from which on a match is certain, and how relevant that is on the scale that callers see."""


def certainty(score: float) -> float | None:
    """How relevant a certain match is, 0.86 to 1; None of a score that only says how well words match."""
    return next((value for tier, value in TIERS if score >= tier), None)


def build(schema: tantivy.Schema, counted: Frequencies, query: QueryText, *, strict: bool) -> Query:
    """The query for contents that match by title, person, words, or nearly by title.

    Parameters
    ----------
    strict
        Ask for most of the words; otherwise for any one.
    """
    clauses = [_constant(schema, "title_key", query.key, EXACT_TIER)]
    if squeezed := loose(query.key):
        clauses.append(_constant(schema, "title_loose", squeezed, LOOSE_TIER))
        clauses.append(_constant(schema, "title_series", squeezed, SERIES_TIER))
    clauses += _numbered_title(schema, query)
    if query.title_and_year:
        clauses.append(_title_of_year(schema, *query.title_and_year))
    clauses.append(_person(schema, counted, query))
    if query.kind is not None:
        of_kind = filtered(schema, Query.all_query(), query.kind)
        clauses.append(Query.const_score_query(of_kind, KIND_TIER))
    if query.terms and query.kind is not None and strict:
        # Whatever else has the words by chance is not of the kind; a title that has them may be meant.
        clauses.append(_in_title(schema, query.terms))
    elif query.terms:
        clauses.append(_words(schema, counted, query, strict=strict))
    return any_of(clauses)


def frequency(counted: Frequencies, word: str) -> int:
    """How many contents have a folded word, in any of its forms: the most of those that have it in one field."""
    return max(counted.of(field, form) for field, form in _forms(word, "people").items())


def is_last_name(counted: Frequencies, name: str) -> bool:
    """Whether a folded name, written without spaces, is the last name of directors and leads, and no word of titles."""
    # Of two words ("de niro") the title field counts neither together, and few titles are made of them.
    in_titles = counted.of("title", _title_form(name))
    return counted.of("lead_name", name) >= max(1, NAMES_PER_TITLE * in_titles)


def nearly(schema: tantivy.Schema, query: QueryText) -> Query:
    """The query for contents whose title is like the whole query: its grams, a few wrong letters, or its sound."""
    clauses = [
        _similar_title(schema, query.key),
        Query.boost_query(Query.term_query(schema, "title_sound", sound(query.key)), SURE),
    ]
    if squeezed := loose(query.key):
        clauses += _mistyped_title(schema, squeezed)
        clauses += [
            Query.boost_query(Query.term_query(schema, field, squeezed), SURE)
            for field in ("title_loose", "title_series")
        ]
    return any_of(clauses)


def sharing(schema: tantivy.Schema, counted: Frequencies, content: IndexedContent) -> Query:
    """The query for contents that share series, people, keywords, genres or time with one, most in common first.

    Rare things count for more, and genres and time for more than single names, as in `neighbours`, which judges closely.
    """
    series = {key for title in content.titles for key in (loose(fold(title)), *series_keys(title)) if key}
    directors, cast = (_lead_keys(content, is_director=one) for one in (True, False))
    words = {word for keyword in content.keywords for word in keyword_words(keyword)}
    forms = (
        *((field, key, 2.0) for key in sorted(series) for field in ("title_loose", "title_series")),
        *(("person_key", key, 1.0) for key in directors),
        *(("person_key", key, 0.25) for key in cast),
        *(("keywords", word, 0.1) for word in sorted(words)),
        *(("genre", genre, 2.0) for genre in content.genres),
    )
    weighed = ((field, form, weight, counted.of(field, form)) for field, form, weight in forms)
    clauses = [
        _constant(schema, field, form, weight * _rarity(counted.contents, count))
        for field, form, weight, count in weighed
        if count
    ]
    if content.release_year is not None:
        clauses += [_around(schema, content.release_year, years) for years in (5, 10, 20)]
    return any_of(clauses)


def _lead_keys(content: IndexedContent, *, is_director: bool) -> list[str]:
    people = [one for one in content.people if (one.role == "director") is is_director][:LEADING]
    return list(dict.fromkeys(key for one in people for key in name_keys(fold(one.name))[:1]))


def _around(schema: tantivy.Schema, year: int, years: int) -> Query:
    """Contents of about a time; they score once for each of several such spans they are in."""
    near = Query.range_query(schema, "release_year", tantivy.FieldType.Integer, year - years, year + years)
    return Query.const_score_query(near, NEAR_TIME)


def any_of(queries: Sequence[Query], *, at_least: int = 1) -> Query:
    """Contents that at least so many of the queries find."""
    return Query.boolean_query(
        [(Occur.Should, query) for query in queries], minimum_number_should_match=at_least
    )


def _title_of_year(schema: tantivy.Schema, title: str, year: int) -> Query:
    titles = [Query.term_query(schema, field, loose(title)) for field in ("title_loose", "title_series")]
    both = any_of(titles), Query.term_query(schema, "year", str(year))
    return Query.const_score_query(Query.boolean_query([(Occur.Must, part) for part in both]), EXACT_TIER)


def _numbered_title(schema: tantivy.Schema, query: QueryText) -> list[Query]:
    """The part of a series that is asked for by its number; the first one seldom has it in its title."""
    clauses = []
    for key in sequel_keys(query.text, continued=False):
        clauses.append(_constant(schema, "title_number", key, LOOSE_TIER))
        base = key.removesuffix("1")
        if base != key and not base[-1:].isdigit():
            clauses.append(_constant(schema, "title_loose", base, SERIES_TIER))
    return clauses


def _person(schema: tantivy.Schema, counted: Frequencies, query: QueryText) -> Query:
    """The person whose full name, or whose last name, is the whole query."""
    name = query.key.replace(" ", "")
    clauses = [_constant(schema, "person_key", name, PERSON_TIER)]
    if is_last_name(counted, name):
        clauses.append(_constant(schema, "lead_name", name, LAST_NAME_TIER))
    return Query.disjunction_max_query(clauses)


def _in_title(schema: tantivy.Schema, terms: Sequence[str]) -> Query:
    words = [Query.term_query(schema, "title", _title_form(term)) for term in terms]
    return Query.boolean_query([(Occur.Must, word) for word in words])


def _words(schema: tantivy.Schema, counted: Frequencies, query: QueryText, *, strict: bool) -> Query:
    names = _names(counted, query.words)
    in_names = {word for name in names for word in name}
    terms = [term for term in query.terms if term not in in_names]
    described = len(names) + len(terms) >= DESCRIPTION_WORDS
    if described and len(terms) > MAX_TERMS:
        terms = sorted(terms, key=lambda term: frequency(counted, term))[:MAX_TERMS]
    boosts = DESCRIPTION_BOOSTS if described else FIELD_BOOSTS
    fields = _people_fields(counted, query)
    parts = [_name(schema, counted, name, boosts) for name in names]
    parts += [_word(schema, counted, term, fields[term], boosts) for term in terms]
    needed = DESCRIPTION_NEEDED if described else _words_needed(len(parts))
    return any_of(parts, at_least=needed if strict else 1)


def _names(counted: Frequencies, words: Sequence[str]) -> list[Sequence[str]]:
    """Full names of people of the catalogue among the words, longest first, none overlapping another."""
    names: list[Sequence[str]] = []
    position = 0
    while position < len(words):
        windows = (
            words[position : position + length] for length in NAME_LENGTHS if position + length <= len(words)
        )
        found = next((window for window in windows if counted.of("person_key", "".join(window))), None)
        if found:
            names.append(found)
        position += len(found) if found else 1
    return names


def _name(
    schema: tantivy.Schema, counted: Frequencies, name: Sequence[str], boosts: Mapping[str, float]
) -> Query:
    """The person, or (a name may stand in a title) the single words; never one word of one person, one of another."""
    apart = Query.boolean_query([(Occur.Must, _word(schema, counted, word, None, boosts)) for word in name])
    return Query.disjunction_max_query(
        [_constant(schema, "person_key", "".join(name), NAME_SCORE), apart], TIE_BREAKER
    )


def _words_needed(count: int) -> int:
    """All of two words, most of five."""
    return count if count <= 2 else 2 if count == 3 else 3


def _people_fields(counted: Frequencies, query: QueryText) -> dict[str, str | None]:
    """Where a word may name a person: anywhere in a name, only as a last name, or (None) not at all.

    Two names side by side that are nobody's full name are the last names of two people ("pacino coppola"), unless the one
    before is mostly a first name: "james bond" is one person, who is in no cast, and not some James beside some Bond.
    """
    words = query.words
    named = [counted.of("people", word) > counted.of("title", _title_form(word)) for word in words]
    last = [2 * counted.of("last_name", word) >= counted.of("people", word) for word in words]
    fields: dict[str, str | None] = {}
    for position, word in enumerate(words):
        before = position > 0 and named[position - 1]
        after = position + 1 < len(words) and named[position + 1]
        if not before and not after:
            fields.setdefault(word, "people")
        else:
            fields[word] = "last_name" if last[position] and (not before or last[position - 1]) else None
    return fields


def _title_form(term: str) -> str:
    return "".join(stems(with_digits(term))) or term


def _forms(term: str, people_field: str | None) -> dict[str, str]:
    """A word as each field has it."""
    stem = "".join(stems(term)) or term
    forms = {
        "title": _title_form(term),
        "genres": stem,
        "keywords": singular(term),
        "overview": stem,
        "year": decade_of(term) or term,
    }
    return forms | ({people_field: term} if people_field else {})


def _word(
    schema: tantivy.Schema,
    counted: Frequencies,
    term: str,
    people_field: str | None,
    boosts: Mapping[str, float],
) -> Query:
    forms = _forms(term, people_field)
    counts = {field: counted.of(field, form) for field, form in forms.items()}
    queries = [
        _constant(schema, field, form, boosts[field] * _rarity(counted.contents, counts[field]))
        if field in UNSCALED_FIELDS
        else Query.boost_query(Query.term_query(schema, field, form), boosts[field])
        for field, form in forms.items()
        if counts[field]
    ]
    typos = allowed_typos(term)
    if not queries and typos:
        queries = [
            Query.const_score_query(Query.fuzzy_term_query(schema, field, forms[field], typos), TYPO_SCORE)
            for field in ("title", "people", "last_name", "genres")
            if field in forms
        ]
    return Query.disjunction_max_query(queries, TIE_BREAKER) if queries else Query.empty_query()


def _rarity(contents: int, with_word: int) -> float:
    """Inverse document frequency as BM25 has it (Robertson and Zaragoza 2009, with Lucene's + 1)."""
    return math.log(1.0 + (contents - with_word + 0.5) / (with_word + 0.5))


def rarity(counted: Frequencies, word: str) -> float:
    """Inverse document frequency of a folded word, by where most contents have it."""
    return _rarity(counted.contents, frequency(counted, word))


def _constant(schema: tantivy.Schema, field: str, form: str, score: float) -> Query:
    return Query.const_score_query(Query.term_query(schema, field, form), score)


def _mistyped_title(schema: tantivy.Schema, squeezed: str) -> list[Query]:
    """Whole titles within one or two wrong letters."""
    allowed = allowed_typos(squeezed)
    if not allowed:
        return []
    similar = Query.fuzzy_term_query(schema, "title_loose", squeezed, allowed)
    return [Query.const_score_query(similar, SURE)]


def _similar_title(schema: tantivy.Schema, key: str) -> Query:
    parts = grams(key)
    needed = max(1, int(GRAM_SHARE * len(parts)))
    return any_of([Query.term_query(schema, "title_grams", part) for part in parts], at_least=needed)
