"""Search filters as index queries. Used by the text index only."""

from collections.abc import Sequence
from itertools import product
from uuid import UUID

import tantivy
from tantivy import Occur, Query

from media_gateway.discovery.filters import PersonAsked, SearchFilter
from media_gateway.discovery.text_index.analysis import singular
from media_gateway.discovery.text_index.schema import credit_key, keyword_words, offer_key, stems


def filtered(schema: tantivy.Schema, query: Query, where: SearchFilter) -> Query:
    """The query, kept to contents that pass the filter; scores do not change."""
    required = _required(schema, where)
    refused = [_one_of(schema, "genre", where.genres_none)] if where.genres_none else []
    refused += [_said(schema, word) for word in where.words_none]
    refused += [_credited(schema, person) for person in where.people_none]
    if not required and not refused:
        return query
    return Query.boolean_query(
        [
            (Occur.Must, query),
            *((Occur.Must, Query.const_score_query(part, 0.0)) for part in required),
            *((Occur.MustNot, part) for part in refused),
        ]
    )


def these(schema: tantivy.Schema, content_ids: Sequence[UUID]) -> Query:
    """The contents with these ids."""
    # Not as a set of terms: that walks all ids of the catalogue, which takes twice as long for a few hundred.
    terms = (Query.term_query(schema, "id", str(content_id)) for content_id in content_ids)
    return Query.boolean_query([(Occur.Should, term) for term in terms])


def _required(schema: tantivy.Schema, where: SearchFilter) -> list[Query]:
    wanted: tuple[tuple[str, Sequence[str]], ...] = (
        ("genre", where.genres_any),
        ("content_type", where.content_types),
        ("language", where.languages_any),
        ("offer", _offers(where)),
    )
    required = [_one_of(schema, field, values) for field, values in wanted if values]
    required += [_one_of(schema, "genre", genres) for genres in where.genres_all]
    required += [
        Query.term_query(schema, "keywords", word)
        for keyword in where.keywords_all
        for word in keyword_words(keyword)
    ]
    required += [_credited(schema, person) for person in where.people_all]
    integer, number = tantivy.FieldType.Integer, tantivy.FieldType.Float
    if where.year_from is not None or where.year_to is not None:
        required.append(Query.range_query(schema, "release_year", integer, where.year_from, where.year_to))
    if where.rating_from is not None or where.rating_to is not None:
        required.append(Query.range_query(schema, "rating", number, where.rating_from, where.rating_to))
    if where.maturity_level is not None:
        required.append(Query.range_query(schema, "maturity_level", integer, None, where.maturity_level))
    return required


def _offers(where: SearchFilter) -> list[str]:
    if not (where.platforms_any or where.region or where.availability_types):
        return []
    facts = product(where.platforms_any or ("",), (where.region or "",), where.availability_types or ("",))
    return [offer_key(*fact) for fact in facts]


def _credited(schema: tantivy.Schema, person: PersonAsked) -> Query:
    if person.role is not None:
        return Query.term_query(schema, "credit", credit_key(person.role, person.key))
    either = (Query.term_query(schema, field, person.key) for field in ("person_key", "lead_name"))
    return Query.boolean_query([(Occur.Should, one) for one in either])


def _said(schema: tantivy.Schema, word: str) -> Query:
    """Contents whose text has a word, in any of its forms."""
    stem = "".join(stems(word)) or word
    fields = {"title": stem, "genres": stem, "overview": stem, "keywords": singular(word)}
    return Query.boolean_query(
        [(Occur.Should, Query.term_query(schema, field, form)) for field, form in fields.items()]
    )


def _one_of(schema: tantivy.Schema, field: str, values: Sequence[str]) -> Query:
    return Query.term_set_query(schema, field, list(values))
