"""The measures of the relevance harness: bounds, laws of order, and agreement with their definitions by brute force."""

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from media_gateway.cli.evaluation.metrics import measures, ndcg, precision, recall, reciprocal_rank

GRADES = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=30)
CUTS = st.integers(1, 20)


@st.composite
def answers(draw, grades=GRADES):
    """The grades of all right answers, and the gains of a ranking that found some of them among wrong results."""
    judged = draw(grades)
    found = judged[: draw(st.integers(0, len(judged)))]
    return judged, draw(st.permutations([*found, *[0.0] * draw(st.integers(0, 20))]))


def every(gains: Sequence[float], judged: Sequence[float], cut: int) -> tuple[float, ...]:
    return (
        ndcg(gains, judged, cut),
        reciprocal_rank(gains, cut),
        precision(gains, cut),
        recall(gains, len(judged), cut),
    )


@given(answers(), CUTS)
def test_every_measure_is_between_0_and_1(answer, cut):
    judged, gains = answer
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in every(gains, judged, cut))


@given(GRADES, CUTS)
def test_the_best_order_of_all_right_answers_is_perfect(judged, cut):
    best = sorted(judged, reverse=True)
    assert ndcg(best, judged, cut) == pytest.approx(1.0)
    assert reciprocal_rank(best, cut) == 1.0
    assert recall(best, len(judged), cut) == 1.0


@given(GRADES, CUTS, st.integers(0, 20))
def test_wrong_results_alone_are_worth_nothing(judged, cut, wrong):
    assert every([0.0] * wrong, judged, cut) == (0.0, 0.0, 0.0, 0.0)


@given(answers(), CUTS, st.randoms(use_true_random=False))
def test_the_order_in_which_right_answers_are_listed_plays_no_part(answer, cut, chance):
    judged, gains = answer
    shuffled = chance.sample(judged, len(judged))
    assert every(gains, shuffled, cut) == every(gains, judged, cut)


@given(answers(), CUTS, st.randoms(use_true_random=False))
def test_precision_and_recall_do_not_depend_on_the_order_within_the_cut(answer, cut, chance):
    judged, gains = answer
    shuffled = chance.sample(gains[:cut], len(gains[:cut])) + gains[cut:]
    assert precision(shuffled, cut) == precision(gains, cut)
    assert recall(shuffled, len(judged), cut) == recall(gains, len(judged), cut)


@given(answers(), CUTS, st.randoms(use_true_random=False))
def test_what_lies_beyond_the_cut_plays_no_part(answer, cut, chance):
    judged, gains = answer
    shuffled = gains[:cut] + chance.sample(gains[cut:], len(gains[cut:]))
    assert every(shuffled, judged, cut) == every(gains, judged, cut)


@given(answers(), CUTS, st.data())
def test_moving_a_better_result_up_never_makes_an_answer_worse(answer, cut, data):
    judged, gains = answer
    if len(gains) < 2:
        return
    upper = data.draw(st.integers(0, len(gains) - 2))
    lower = data.draw(st.integers(upper + 1, len(gains) - 1))
    if gains[lower] <= gains[upper]:
        return
    better = list(gains)
    better[upper], better[lower] = gains[lower], gains[upper]
    for new, old in zip(every(better, judged, cut), every(gains, judged, cut), strict=True):
        assert new >= old - 1e-12


@given(answers(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=6)), st.integers(1, 8))
def test_ndcg_is_the_gain_of_a_ranking_over_that_of_the_best_of_all_orders(answer, cut):
    judged, gains = answer

    def gained(order: Sequence[float]) -> float:
        return sum(gain / math.log2(place + 1) for place, gain in enumerate(order[:cut], 1))

    best = max(gained(order) for order in itertools.permutations(judged))
    assert ndcg(gains, judged, cut) == pytest.approx(gained(gains) / best)


@given(answers(), CUTS)
def test_the_others_are_their_definitions(answer, cut):
    judged, gains = answer
    right = [place for place in range(1, cut + 1) if place <= len(gains) and gains[place - 1] > 0]
    assert reciprocal_rank(gains, cut) == (1 / right[0] if right else 0)
    assert precision(gains, cut) == len(right) / cut
    assert recall(gains, len(judged), cut) == len(right) / min(cut, len(judged))


def test_a_worked_example_comes_out_as_published():
    # The example of Wikipedia's page on discounted cumulative gain: two more documents of 3 and 2 were not found.
    assert ndcg([3, 2, 3, 0, 1, 2], [3, 3, 3, 2, 2, 2, 1, 0.0001], 6) == pytest.approx(0.785, abs=5e-4)


def test_precision_is_left_out_where_it_could_not_reach_1():
    assert "precision@10" not in measures([1.0], [1.0] * 9, 100)
    assert measures([1.0] * 10, [1.0] * 10, 100)["precision@10"] == 1.0
    assert list(measures([], [1.0], 50)) == ["ndcg@10", "mrr@10", "recall@50"]


def test_more_right_answers_than_results_are_no_fault_of_the_search():
    assert measures([1.0] * 100, [1.0] * 311, 100)["recall@100"] == 1.0
