"""Search filters as index queries. Used by the text index only."""

from collections.abc import Sequence
from itertools import product
from uuid import UUID

import tantivy
from tantivy import Occur, Query

from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.text_index.schema import offer_key


def filtered(schema: tantivy.Schema, query: Query, where: SearchFilter) -> Query:
    """The query, kept to contents that pass the filter; scores do not change."""
    required = _required(schema, where)
    refused = [_one_of(schema, "genre", where.genres_none)] if where.genres_none else []
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


def _one_of(schema: tantivy.Schema, field: str, values: Sequence[str]) -> Query:
    return Query.term_set_query(schema, field, list(values))
