"""The paired bootstrap of the relevance harness."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from media_gateway.cli.evaluation.bootstrap import RESAMPLES, paired_bootstrap

DIFFERENCES = st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=12).map(np.asarray)


def test_it_draws_ten_thousand_times():
    assert RESAMPLES == 10_000


@given(DIFFERENCES)
def test_the_interval_lies_within_the_differences_and_is_the_same_each_time(differences):
    found = paired_bootstrap(differences)
    assert found == paired_bootstrap(differences)
    assert found.low <= found.high
    assert differences.min() - 1e-12 <= found.low
    assert found.high <= differences.max() + 1e-12
    assert found.mean == pytest.approx(float(differences.mean()))


@given(DIFFERENCES)
def test_exchanging_the_variants_turns_the_interval_round(differences):
    there, back = paired_bootstrap(differences), paired_bootstrap(-differences)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_equal_rankings_differ_by_nothing_and_a_constant_gain_is_certain():
    assert not paired_bootstrap(np.zeros(20)).is_significant
    certain = paired_bootstrap(np.full(20, 0.25))
    assert (certain.mean, certain.low, certain.high) == (0.25, 0.25, 0.25)
    assert certain.is_significant


def test_an_interval_is_as_wide_as_the_normal_one_where_that_is_right():
    differences = np.random.default_rng(5).normal(0.1, 0.3, 400)
    found = paired_bootstrap(differences)
    half = 1.96 * differences.std() / np.sqrt(400)
    assert found.low == pytest.approx(differences.mean() - half, abs=0.004)
    assert found.high == pytest.approx(differences.mean() + half, abs=0.004)


def test_chance_alone_is_called_significant_about_one_time_in_twenty():
    generator = np.random.default_rng(11)
    alarms = sum(paired_bootstrap(generator.normal(0, 0.3, 60)).is_significant for _ in range(100))
    assert alarms <= 14  # 5 expected; the binomial leaves 14 to less than one run in a thousand
