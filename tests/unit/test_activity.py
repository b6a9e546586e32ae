"""What is read from an event about demand, and what is passed over."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, strategies as st

from media_gateway.core.domain.events import Event, Topic
from media_gateway.discovery.activity import WORLD, Interaction, Passed, read

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CONTENT = uuid4()


def told(kind: str = "search.clicked", at: datetime = NOW, key: str = "user-1", **data: Any) -> Event:
    topic = Topic.PLAYBACK if kind.startswith("playback") else Topic.ACTIVITY
    body = {"content_id": str(CONTENT)} | data
    return Event(topic=topic, type=kind, key=key, data=body, source="test", occurred_at=at)


def seen(event: Event) -> Interaction | Passed:
    return read(event, now=NOW, max_age=7 * DAY)


def good(event: Event) -> Interaction:
    one = seen(event)
    assert isinstance(one, Interaction)
    return one


@pytest.mark.parametrize(
    ("kind", "data", "weight"),
    [
        ("search.clicked", {}, 1),
        ("watchlist.added", {}, 2),
        ("playback.session.created", {"position_seconds": 0, "duration_seconds": 100}, 3),
        ("playback.session.ended", {"position_seconds": 90, "duration_seconds": 100}, 4),
    ],
)
def test_the_surer_a_sign_the_more_it_weighs(kind, data, weight):
    one = good(told(kind, **data))
    assert (one.weight, one.content_id, one.at, one.regions) == (weight, CONTENT, NOW, (WORLD,))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("search.performed", {}),
        ("playback.position.updated", {"position_seconds": 99, "duration_seconds": 100}),
        ("something.new", {}),
        ("playback.session.ended", {"position_seconds": 89, "duration_seconds": 100}),
        ("playback.session.ended", {"position_seconds": 0, "duration_seconds": 0}),
        ("playback.session.ended", {"position_seconds": -1, "duration_seconds": -1}),
        ("playback.session.ended", {"position_seconds": float("nan"), "duration_seconds": 1}),
        ("playback.session.ended", {"position_seconds": True, "duration_seconds": True}),
        ("playback.session.ended", {"position_seconds": "90", "duration_seconds": 100}),
        ("playback.session.ended", {}),
    ],
)
def test_what_says_nothing_of_demand_is_passed_over(kind, data):
    assert seen(told(kind, **data)) is Passed.OTHER


@pytest.mark.parametrize(
    "data",
    [
        {"content_id": None},
        {"content_id": "x"},
        {"content_id": 7},
        {"content_id": ["a"]},
        {"region": "usa"},
        {"region": "us"},
        {"region": "U\x00"},
        {"region": "US\n"},
        {"region": 1},
        {"region": WORLD},
    ],
)
def test_broken_events_are_told_from_others(data):
    assert seen(told(**data)) is Passed.BROKEN


def test_an_event_without_time_zone_or_key_is_broken():
    assert seen(told(at=datetime(2026, 3, 1))) is Passed.BROKEN  # noqa: DTZ001 - the point of it
    assert seen(told(key="")) is Passed.BROKEN


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["content_id", "region", "anonymous", "visitor", "position_seconds", "duration_seconds"]
)
kinds = st.sampled_from(
    ["search.clicked", "playback.session.ended", "playback.session.created", "watchlist.added"]
)


@given(kinds, st.dictionaries(names, json), st.datetimes(timezones=st.none() | st.just(UTC)))
def test_no_event_is_an_error(kind, data, at):
    seen(told(kind, at, **data))


def test_what_is_older_than_consumed_events_are_remembered_is_late():
    assert seen(told(at=NOW - 7 * DAY - timedelta(seconds=1))) is Passed.LATE
    assert good(told(at=NOW - 7 * DAY)).at == NOW - 7 * DAY


def test_an_event_from_the_future_counts_as_of_now_and_says_so():
    one = good(told(at=NOW + 400 * DAY))
    assert (one.at, one.ahead) == (NOW, 400 * DAY)
    assert good(told()).ahead == timedelta(0)


def test_a_region_counts_in_the_world_too():
    assert good(told(region="GB")).regions == (WORLD, "GB")


def test_a_user_is_one_person_and_visitors_are_told_apart_by_their_pseudonym():
    def person(key: str, **data: Any) -> str:
        return good(told(key=key, **data)).person

    assert person("user-1") == person("user-1", visitor="ab") == person("user-1", anonymous=False)
    assert person("search-1", anonymous=True, visitor="ab") == person(
        "search-2", anonymous=True, visitor="ab"
    )
    assert person("search-1", anonymous=True, visitor="ab") != person(
        "search-1", anonymous=True, visitor="cd"
    )
    assert person("search-1", anonymous=True) != person("search-2", anonymous=True, visitor="")
    assert person("ab") != person("ab", anonymous=True)
