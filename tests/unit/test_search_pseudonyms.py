"""Keyed hashes of queries and searchers: equal where counting needs it, unrelated everywhere else."""

from datetime import date

import structlog
from hypothesis import given, strategies as st
from pydantic import SecretStr

from media_gateway.core.domain.ids import uuid7
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.search_events import (
    ClickEvent,
    Searcher,
    SearchEvent,
    clicked,
    normalised,
    performed,
)
from media_gateway.discovery.settings import Settings

KEY = b"k" * 32
HASHES = Pseudonyms(KEY)
names = st.text(min_size=1, max_size=40)


@given(st.text())
def test_a_normalised_query_is_stable_and_can_be_stored(text):
    once = normalised(text)
    assert normalised(once) == once
    assert "\0" not in once
    assert once.encode().decode() == once


def test_spelling_of_one_query_gives_one_hash():
    same = ["The  Godfather ", "the godfather", "THE GODFATHER", "the\u00a0godfather", "\uff34he godfather"]
    assert len({HASHES.query(normalised(text)) for text in same}) == 1


@given(first=names, second=names)
def test_a_searcher_has_one_pseudonym_a_query_and_another_for_each_other_query(first, second):
    person = Searcher(subject="user-1")
    one, other = HASHES.query(first), HASHES.query(second)
    assert HASHES.searcher(one, person) == HASHES.searcher(one, Searcher(subject="user-1"))
    assert (HASHES.searcher(one, person) == HASHES.searcher(other, person)) == (first == second)


@given(name=names)
def test_a_user_and_a_client_of_the_same_name_are_two(name):
    query = HASHES.query("alien")
    assert HASHES.searcher(query, Searcher(subject=name)) != HASHES.searcher(query, Searcher(client=name))


@given(text=names)
def test_the_hash_in_an_event_leads_to_no_row(text):
    assert HASHES.query_in_event(text) != HASHES.query(text).hex()


def test_another_key_shares_no_hash():
    other = Pseudonyms(b"o" * 32)
    assert HASHES.query("alien") != other.query("alien")


def test_the_key_is_the_setting_else_made_of_the_auth_secret_else_random():
    secret, key = SecretStr("s" * 32), SecretStr("a" * 32)

    def query(**settings: SecretStr) -> bytes:
        return Pseudonyms.from_settings(Settings(**settings)).query("alien")  # type: ignore[arg-type]

    assert query(auth_secret=secret) == query(auth_secret=secret)
    assert (
        query(auth_secret=secret, analytics_key=key) == query(analytics_key=key) != query(auth_secret=secret)
    )
    with structlog.testing.capture_logs() as logs:
        assert query() != query()
    assert "MEDIA_GATEWAY_ANALYTICS_KEY" in logs[0]["event"]


def test_events_tell_others_nothing_of_the_words_and_of_a_user_not_which_search_it_was():
    search = SearchEvent(
        query="my rare illness",
        searcher=Searcher(subject="user-1"),
        variant="low",
        filters=("genres",),
        result_count=3,
        shown=3,
        latency_ms=4,
    )
    event = performed(search, HASHES.query_in_event(search.query))
    assert (event.type, event.key) == ("search.performed", "user-1")
    assert set(event.data) == {"anonymous", "query_hash", "result_count", "variant", "filters"}
    body = event.to_json()
    assert b"illness" not in body
    assert str(search.search_id).encode() not in body


def test_events_of_callers_without_a_token_are_keyed_by_the_search():
    search_id, content_id = uuid7(), uuid7()
    click = ClickEvent(
        search_id=search_id, content_id=content_id, position=2, searcher=Searcher(client="::1 curl")
    )
    event = clicked(click, "ab12")
    assert (event.type, event.key) == ("search.clicked", str(search_id))
    assert event.data == {
        "anonymous": True,
        "content_id": str(content_id),
        "position": 2,
        "visitor": "ab12",
    }


def test_a_user_s_click_brings_no_other_pseudonym():
    click = ClickEvent(
        search_id=uuid7(), content_id=uuid7(), position=2, searcher=Searcher(subject="user-1"), region="GB"
    )
    event = clicked(click, "ab12")
    assert (event.key, event.data["region"], "visitor" in event.data) == ("user-1", "GB", False)


def test_people_who_are_counted_can_t_be_followed_from_content_to_content_or_day_to_day():
    one, other = uuid7(), uuid7()
    today, tomorrow = date(2026, 3, 1), date(2026, 3, 2)
    me, you = Searcher(client="::1 curl"), Searcher(client="::1 wget")
    assert HASHES.visitor(today, one, me) == HASHES.visitor(today, one, me)
    visitors = [
        HASHES.visitor(today, one, me),
        HASHES.visitor(today, one, you),
        HASHES.visitor(today, other, me),
        HASHES.visitor(tomorrow, one, me),
    ]
    votes = [
        HASHES.vote(today, one, "user:1"),
        HASHES.vote(today, one, "user:2"),
        HASHES.vote(today, other, "user:1"),
        HASHES.vote(tomorrow, one, "user:1"),
    ]
    assert len({*visitors, *(vote.hex() for vote in votes)}) == 8
    assert HASHES.vote(today, one, "user:1") != Pseudonyms(b"x" * 32).vote(today, one, "user:1")
    assert "curl" not in "".join(visitors)
