"""Public addresses to those of services, and which headers go where; pure, so any text may be tried."""

import pytest
from hypothesis import given, strategies as st
from multidict import CIMultiDict

from media_gateway.core.errors import InvalidInputError
from media_gateway.gateway.addresses import check_path, service_url
from media_gateway.gateway.headers import HOP_BY_HOP, to_caller, to_service
from media_gateway.gateway.table import TABLE, Forward, Upstream

BASE = "http://service:1"
ALIAS = Forward(method="GET", template="/old/{name}", upstream=Upstream.SYNC, target="/new/{name}")

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
values = st.from_regex(r"[ -~]{0,20}", fullmatch=True)


@given(texts)
def test_a_variable_of_any_text_stays_in_its_place(name: str):
    url = service_url(BASE, ALIAS, "/old/x", "a=1", {"name": name})
    assert url.raw_query_string == "a=1"
    assert url.raw_path.startswith("/new/")
    assert url.path == f"/new/{name}"


@given(st.text(st.characters(codec="ascii", exclude_characters=" #?")))
def test_a_path_that_passes_has_no_second_reading(rest: str):
    try:
        check_path(f"/{rest}")
    except InvalidInputError:
        return
    low = rest.lower()
    assert not any(sign in low for sign in ("%2f", "%5c", "%2e", "\\", "//"))
    assert not {".", ".."} & set(rest.split("/"))


@pytest.mark.parametrize(
    "path", ["/a/..", "/../a", "/a/./b", "/a//b", "/%2E%2e/a", "/a%2f..%2fb", "/a\\b", "/a%5Cb"]
)
def test_ambiguous_paths_are_named(path: str):
    with pytest.raises(InvalidInputError, match="path"):
        check_path(path)


@given(st.lists(st.tuples(names, values)), st.lists(names, max_size=3))
def test_nothing_of_the_connection_and_nothing_made_up_goes_on(
    headers: list[tuple[str, str]], named: list[str]
):
    connection = [("Connection", ", ".join(named))] if named else []
    own = {"X-Forwarded-For": "192.0.2.1"}
    passed = to_service([*headers, *connection, ("X-Forwarded-For", "10.0.0.1")], own)
    low = {name.lower() for name in passed}
    assert not low & HOP_BY_HOP
    assert not low & {name.lower() for name in named} - {"x-forwarded-for"}
    assert passed.getall("X-Forwarded-For") == ["192.0.2.1"]
    assert not any(name.startswith("x-internal-") for name in low)


@given(st.lists(st.tuples(names, values)))
def test_other_headers_go_on_in_their_order(headers: list[tuple[str, str]]):
    plain = [(f"A-{name}", value) for name, value in headers]
    assert list(to_service(plain, {}).items()) == plain
    assert list(to_caller(plain).items()) == plain


def test_repeated_cookies_come_back_as_they_are():
    came = CIMultiDict(
        [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Server", "x"), ("Connection", "close")]
    )
    assert list(to_caller(came.items()).items()) == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


def test_a_fixed_address_stands_before_a_variable_in_its_place():
    for place, row in enumerate(TABLE):
        if "{" in row.template:
            continue
        for earlier in TABLE[:place]:
            beginning, found, rest = earlier.template.partition("{")
            covers = found and not rest.partition("}")[2] and row.template.startswith(beginning)
            one_segment = "/" not in row.template.removeprefix(beginning)
            assert not (covers and earlier.method in {row.method, "*"} and (one_segment or "rest" in rest)), (
                f"{row.template} is hidden by {earlier.template}"
            )
