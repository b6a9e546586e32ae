"""What makes two searches the same, and what makes them different."""

import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st

from media_gateway.core.errors import InvalidInputError
from media_gateway.discovery.cache import AskedSearch, normalised_query, search_key
from media_gateway.discovery.cache.keys import KEY_VERSION

ASKED = AskedSearch(
    query="Alien",
    filters={"genres": ["horror", "drama"], "year": {"from": 1979, "to": None}},
    page=1,
    page_size=20,
    variant="spec",
    explain=False,
    user_id="u1",
    ranking_version="7",
    generation="12.abc",
)

words = st.lists(st.text(string.ascii_letters + string.digits + "éßñжあ", min_size=1), min_size=1, max_size=5)
spaces = st.text(" \t\n\u00a0\u3000", min_size=1, max_size=3)
slugs = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = slugs | numbers | st.booleans() | st.none()
filters = st.dictionaries(
    slugs, values | st.lists(slugs) | st.dictionaries(st.sampled_from(["from", "to"]), numbers | st.none())
)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@st.composite
def searches(draw: st.DrawFn) -> AskedSearch:
    return AskedSearch(
        query=draw(texts),
        filters=draw(filters),
        page=draw(st.integers(1, 5)),
        page_size=draw(st.integers(1, 5)),
        variant=draw(st.none() | texts),
        explain=draw(st.booleans()),
        user_id=draw(st.none() | st.just("anon") | texts),
        ranking_version=draw(texts),
        generation=draw(texts),
    )


def meaning(asked: AskedSearch) -> tuple[Any, ...]:
    """What the key may depend on, worked out in another way than the key does."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            members = {name: plain(member) for name, member in value.items()}
            return frozenset(
                (n, m) for n, m in members.items() if m not in {None, frozenset(), ("list", frozenset())}
            )
        if isinstance(value, list):
            return ("list", frozenset(value))
        # 1, 1.0 and True are equal in Python.
        return None if value is None else (type(value).__name__, repr(value))

    return (
        normalised_query(asked.query),
        plain(asked.filters),
        *(getattr(asked, name) for name in ("page", "page_size", "variant", "explain", "user_id")),
        asked.ranking_version,
        asked.generation,
    )


def test_a_key_tells_its_version_and_a_digest_and_nobodys_words():
    name, version, digest = search_key(ASKED).split(":")
    assert (name, version, len(digest)) == ("search", str(KEY_VERSION), 64)


@given(words, st.data())
def test_spaces_and_case_of_the_query_do_not_matter(parts, data):
    around = [data.draw(spaces) for _ in range(len(parts) + 1)]
    written = "".join(space + word for space, word in zip(around, parts, strict=False)) + around[-1]
    key = search_key(replace(ASKED, query=" ".join(parts)))
    assert search_key(replace(ASKED, query=written)) == key
    assert search_key(replace(ASKED, query=written.upper())) == key


@given(texts)
def test_the_normalised_query_is_its_own_normalised_query(text):
    assert normalised_query(normalised_query(text)) == normalised_query(text)


def test_compatible_forms_of_a_letter_are_one_query():
    assert normalised_query("\uff26\uff49lm \ufb01ne e\u0301te\u0301") == normalised_query("film FINE été")


@given(st.dictionaries(slugs, st.lists(slugs, min_size=1), min_size=1), st.randoms(use_true_random=False))
def test_order_and_repetition_of_filters_do_not_matter(chosen, random):
    names = list(chosen)
    random.shuffle(names)
    other = {}
    for name in names:
        repeated = chosen[name] * 2
        random.shuffle(repeated)
        other[name] = tuple(repeated)
    key = search_key(replace(ASKED, filters=chosen))
    assert search_key(replace(ASKED, filters=other)) == key
    assert search_key(replace(ASKED, filters={name: set(members) for name, members in other.items()})) == key


def test_a_filter_that_asks_nothing_is_as_if_it_were_not_there():
    nothing: dict[str, Any] = {"genres": [], "language": None, "year": {"from": None, "to": None}}
    assert search_key(replace(ASKED, filters=nothing)) == search_key(replace(ASKED, filters={}))


@pytest.mark.parametrize(
    "change",
    [
        {"query": "Aliens"},
        {"filters": {}},
        {"filters": {"genres": ["horror"], "year": {"from": 1979}}},
        {"filters": {"genres": ["horror", "drama"], "year": {"to": 1979}}},
        {"filters": {"genres_none": ["horror", "drama"], "year": {"from": 1979}}},
        {"page": 2},
        {"page_size": 21},
        {"variant": None},
        {"explain": True},
        {"user_id": None},
        {"user_id": "anon"},
        {"ranking_version": "8"},
        {"generation": "13.abc"},
    ],
)
def test_any_changed_part_changes_the_key(change):
    assert search_key(replace(ASKED, **change)) != search_key(ASKED)


@given(searches(), searches())
def test_keys_are_equal_exactly_when_the_searches_mean_the_same(one, other):
    assert (search_key(one) == search_key(other)) == (meaning(one) == meaning(other))


@given(searches(), st.sampled_from(["query", "variant", "user_id", "ranking_version", "generation"]), texts)
def test_one_changed_part_changes_the_key_of_any_search(asked, part, text):
    other = replace(asked, **{part: text})
    assume(meaning(other) != meaning(asked))
    assert search_key(other) != search_key(asked)


def test_a_person_called_anon_is_not_everybody():
    assert search_key(replace(ASKED, user_id="anon")) != search_key(replace(ASKED, user_id=None))


@given(texts, texts)
def test_text_that_moves_from_one_part_to_the_next_changes_the_key(left, right):
    assume(left and right)
    joined = replace(ASKED, variant=left + right, ranking_version="")
    apart = replace(ASKED, variant=left, ranking_version=right)
    assert search_key(joined) != search_key(apart)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"query": "\ud800"}, "query"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"filters": {"genres": ["drama", "\udfff"]}}, "filters.genres"),
        ({"filters": {"rating": {"from": float("nan")}}}, "filters.rating.from"),
        ({"filters": {"rating": {"to": float("inf")}}}, "filters.rating.to"),
        ({"page": 2**70}, "page"),
    ],
)
def test_what_can_not_be_written_is_refused_by_name(change, named):
    with pytest.raises(InvalidInputError) as raised:
        search_key(replace(ASKED, **change))
    assert [error.field for error in raised.value.errors] == [named]
