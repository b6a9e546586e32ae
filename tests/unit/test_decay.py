"""The law of decayed counts."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from media_gateway.discovery.decay import (
    HALF_LIVES,
    LANDMARK,
    USUAL_HALF_LIFE,
    Levels,
    Window,
    added,
    count,
    expected,
    level,
    surge,
)

NOW = datetime(2031, 5, 17, 12, tzinfo=UTC)
WEEK = HALF_LIVES[Window.WEEK]

half_lives = st.sampled_from([*HALF_LIVES.values(), USUAL_HALF_LIFE])
weights = st.sampled_from([1.0, 2.0, 3.0, 4.0])
ages = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3_000))
events = st.lists(st.tuples(weights, ages), min_size=1, max_size=30)


def together(told: list[tuple[float, timedelta]], half_life: timedelta) -> float:
    first, *rest = (level(weight, NOW - age, half_life) for weight, age in told)
    for one in rest:
        first = added(first, one)
    return first


def plainly(told: list[tuple[float, timedelta]], half_life: timedelta, now: datetime = NOW) -> float:
    """The definition, event by event."""
    return sum(weight * 2 ** -((age + (now - NOW)) / half_life) for weight, age in told)


@given(events, half_lives, ages)
def test_a_level_tells_the_decayed_count_of_its_events_at_any_time(told, half_life, later):
    of_all = together(told, half_life)
    for now in (NOW, NOW + later):
        assert count(of_all, now, half_life) == pytest.approx(plainly(told, half_life, now), rel=1e-9)


@given(events.flatmap(lambda told: st.tuples(st.just(told), st.permutations(told))), half_lives)
def test_the_order_in_which_events_come_makes_no_difference(both, half_life):
    told, shuffled = both
    assert together(told, half_life) == pytest.approx(together(shuffled, half_life), abs=1e-9)


@given(events, events, half_lives)
def test_counts_of_two_parts_are_the_count_of_the_whole(one, other, half_life):
    parts = added(together(one, half_life), together(other, half_life))
    assert parts == pytest.approx(together([*one, *other], half_life), abs=1e-9)


@given(events, half_lives, st.integers(min_value=0, max_value=40))
def test_a_count_halves_with_each_half_life(told, half_life, times):
    of_all = together(told, half_life)
    before = count(of_all, NOW, half_life)
    assert count(of_all, NOW + times * half_life, half_life) == pytest.approx(before / 2**times, rel=1e-9)


@given(events, events, half_lives, ages)
def test_contents_keep_their_order_while_nothing_happens(one, other, half_life, later):
    levels = sorted([together(one, half_life), together(other, half_life)])
    low, high = (count(of_one, NOW + later, half_life) for of_one in levels)
    assert low <= high


def test_levels_stay_numbers_for_centuries_and_old_counts_vanish():
    old, new = (level(1, at, HALF_LIVES[Window.DAY]) for at in (LANDMARK, datetime(2500, 1, 1, tzinfo=UTC)))
    assert added(old, new) == added(new, old) == new
    assert math.isfinite(new)
    assert count(old, datetime(2500, 1, 1, tzinfo=UTC), HALF_LIVES[Window.DAY]) == 0.0


@given(events)
def test_levels_of_all_windows_are_kept_side_by_side(told):
    first, *rest = (Levels.of(weight, NOW - age) for weight, age in told)
    for one in rest:
        first = first.plus(one)
    assert list(first) == pytest.approx(
        [together(told, half_life) for half_life in (*HALF_LIVES.values(), USUAL_HALF_LIFE)], abs=1e-9
    )
    assert first._fields[: len(Window)] == tuple(Window)


@pytest.mark.parametrize("window", list(Window))
def test_a_steady_stream_is_what_is_expected_of_it_and_no_surge(window):
    steady = [(1.0, timedelta(hours=hour)) for hour in range(24 * 1_000)]
    usual = plainly(steady, USUAL_HALF_LIFE)
    counted = plainly(steady, HALF_LIVES[window])
    assert expected(usual, window) == pytest.approx(counted, rel=0.05)
    assert surge(counted, usual, window) < 0.5
    # Three quarters of what counts are from within the window.
    inside = [event for event in steady if event[1] < 2 * HALF_LIVES[window]]
    assert plainly(inside, HALF_LIVES[window]) / counted == pytest.approx(0.75, abs=0.01)


def test_a_surge_grows_with_what_is_unusual_and_not_with_what_is_always_there():
    assert surge(0, 0, Window.DAY) == 0
    assert surge(1, 1, Window.DAY) == pytest.approx(1, abs=0.02)
    assert surge(20, 20, Window.DAY) > surge(10, 10, Window.DAY) > surge(10, 300, Window.DAY) > 0
    assert surge(10, 5_000, Window.DAY) == 0
