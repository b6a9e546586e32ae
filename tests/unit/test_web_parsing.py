"""What the web kit's parsing lets in. The property: whatever comes, a model or an input error, and no third thing."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from pydantic import Field, field_validator

from media_gateway.core.errors import InvalidInputError
from media_gateway.core.web import Wire
from media_gateway.core.web.parsing import MAX_FIELD_ERRORS, parse_json, parse_path, parse_query
from tests.support.echo_component import Order, ThingPath, ThingQuery

# Many examples in little time on a busy machine: neither the first draw nor a single example has a fixed time limit.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def wrong_fields(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        parse_json(Order, body)
    return {error.field: error.message for error in caught.value.errors}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b'"text"', ""),
        (b"\xff\xfe{}", ""),
        (b'{"title": "\xff"}', ""),
        (b'{"title": "\\ud800"}', "title"),
        (b'{"title": "x", "extra": {"a": ["\\uDFFF"]}}', "extra.a.0"),
        (b'{"title": "\\ud800", ', ""),
        (b'{"title": "x", "title": "y"}', "title"),
        (
            b'{"title": "x", "tree": {"name": "a", "parts": [{"name": "b", "name": "b"}]}}',
            "tree.parts.0.name",
        ),
        (b'{"title": "x", "extra": {"a": 1, "\\u0061": 2}}', "extra.a"),
        (b"[" * 5000, ""),
        (b'{"title": "x", "extra": {"a": NaN}}', ""),
        (b'{"title": "x", "price": NaN}', ""),
        (b'{"title": "x", "price": -Infinity}', ""),
        (b'{"title": "x", "price": 1e999}', "price"),
        (b'{"title": "x", "extra": {"a": 1e999}}', "extra.a"),
        (b'{"title": "x", "extra": {"a": 9223372036854775808}}', "extra.a"),
        (b'{"title": "x", "amount": 18446744073709551616}', "amount"),
        (b'{"title": "x", "amount": ' + b"9" * 5000 + b"}", ""),
        (b'{"title": "x\\u0000"}', "title"),
        (b'{"title": "x\\u001B"}', "title"),
        (b'{"title": "x\\b"}', "title"),
        (b'{"title": "x", "extra": {"a": ["\\f"]}}', "extra.a.0"),
        (b'{"title": "x", "extra": {"a\\u0000": 1}}', "extra.a?"),
        (b'{"title": 7}', "title"),
        (b'{"title": "x", "amount": "1"}', "amount"),
        (b'{"title": "x", "amount": true}', "amount"),
        (b'{"title": "x", "flavour": "sour"}', "flavour"),
        (b'{"title": "x", "when": "0000-01-01"}', "when"),
        (b'{"title": "x", "tree": {"name": "a", "parts": [{"name": ""}]}}', "tree.parts.0.name"),
        (b'{"title": "x", "bogus": 1}', "bogus"),
        (b'{"amount": 1}', "title"),
    ],
)
def test_bad_json_is_an_input_error_that_names_the_field(body: bytes, field: str):
    assert field in wrong_fields(body)


@pytest.mark.parametrize(
    "title",
    [
        "tab\there",
        "line\nbreak",
        "carriage\rreturn",
        "back\\u0000slash",
        "NaN",
        "Infinity",
        "1" * 30,
        "1e999",
        "𝄞",
        "",
    ],
)
def test_text_that_only_looks_suspicious_is_accepted(title: str):
    assert parse_json(Order, json.dumps({"title": title}).encode()).title == title


def test_messages_repeat_no_input_and_are_limited_in_number():
    errors = wrong_fields(json.dumps({f"hunter{n}": "s3cret" for n in range(100)}).encode())
    assert len(errors) <= MAX_FIELD_ERRORS
    assert "s3cret" not in str(errors)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@relaxed
@given(st.dictionaries(st.sampled_from([*Order.model_fields, "bogus"]), json_values))
def test_any_json_object_is_a_model_of_clean_values_or_an_input_error(value: dict[str, object]):
    try:
        parsed = parse_json(Order, json.dumps(value).encode())
    except InvalidInputError:
        return
    assert_clean(parsed.model_dump())


def assert_clean(value: object) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            assert_clean(name)
            assert_clean(item)
    elif isinstance(value, list):
        for item in value:
            assert_clean(item)
    elif isinstance(value, str):
        assert not any(ord(c) < 32 and c not in "\t\n\r" for c in value)
        value.encode()
    elif isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, int):
        assert -(2**63) <= value < 2**63


@relaxed
@given(st.binary(max_size=200))
@example(b"null")
def test_any_bytes_are_a_model_or_an_input_error(body: bytes):
    with suppress(InvalidInputError):
        parse_json(Order, body)


@relaxed
@given(st.text(max_size=100))
@example("limit=1&limit=2")
@example("limit=%ff")
@example("limit=" + "9" * 5000)
@example("ratio=nan")
@example("&".join(f"a{n}=1" for n in range(200)))
def test_any_query_is_a_model_or_an_input_error(query: str):
    with suppress(InvalidInputError):
        assert_clean(parse_query(ThingQuery, query).model_dump())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=1&limit=1", "limit"),
        ("limit=0", "limit"),
        ("limit=", "limit"),
        ("after=9223372036854775808", "after"),
        ("ratio=inf", "ratio"),
        ("text=a%00b", "text"),
        ("text=%ed%a0%80", "query"),
        ("genre=a%01", "genre.0"),
        ("bogus=1", "bogus"),
    ],
)
def test_bad_query_names_the_parameter(query: str, field: str):
    with pytest.raises(InvalidInputError) as caught:
        parse_query(ThingQuery, query)
    assert [error.field for error in caught.value.errors] == [field]


def test_a_list_parameter_may_be_given_once_or_often():
    assert parse_query(ThingQuery, "genre=drama").genre == ["drama"]
    assert parse_query(ThingQuery, "genre=drama&genre=war&limit=5").genre == ["drama", "war"]


class Renamed(Wire):
    kinds: list[str] = Field(default=[], alias="kind")


def test_a_list_parameter_is_known_by_its_name_on_the_wire():
    assert parse_query(Renamed, "kind=a&kind=b").kinds == ["a", "b"]


@pytest.mark.parametrize("thing_id", ["", "1", "\x00", "é" * 300, "../..", "0" * 33])
def test_bad_path_variable_is_named(thing_id: str):
    with pytest.raises(InvalidInputError) as caught:
        parse_path(ThingPath, {"thing_id": thing_id})
    assert caught.value.errors[0].field == "thing_id"


class Picky(Wire):
    name: str

    @field_validator("name")
    @classmethod
    def _refuse(cls, value: str) -> str:
        raise ValueError(value)


@pytest.mark.parametrize(
    ("said", "told"), [("Must be so", "must be so"), ("JSON it is not", "JSON it is not")]
)
def test_messages_begin_small_without_the_librarys_prefix_and_keep_abbreviations(said: str, told: str):
    with pytest.raises(InvalidInputError) as caught:
        parse_json(Picky, json.dumps({"name": said}).encode())
    assert caught.value.message == f"name: {told}"
