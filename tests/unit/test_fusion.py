"""One order out of several: certain matches first, missing legs forgiven, the same order every time."""

from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from media_gateway.discovery.fusion import UNCERTAIN, QueryClass, class_of, fuse
from media_gateway.discovery.legs import Candidate
from media_gateway.discovery.ranking import BUILT_IN, ClassWeights, LegWeights, Variant
from media_gateway.discovery.text_index import analyse

DEFAULT = BUILT_IN["default"]
RRF = Variant(fusion="rrf", rrf_k=60)


def weighing(*, fusion="minmax", **weights: float) -> Variant:
    legs = LegWeights(**({"text": 0.0, "title": 0.0, "vector": 0.0} | weights))
    return Variant(fusion=fusion, rrf_k=60, weights=ClassWeights(title_like=legs, descriptive=legs))


def some(*scores: float, first: int = 0, certain: float | None = None) -> list[Candidate]:
    return [Candidate(UUID(int=first + n), score, certain) for n, score in enumerate(scores)]


def numbers(answers, variant=DEFAULT) -> list[int]:
    return [one.content_id.int for one in fuse(answers, QueryClass.DESCRIPTIVE, variant)]


LEGS = st.dictionaries(
    st.sampled_from(["text", "title", "vector"]),
    st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), max_size=20, unique_by=lambda pair: pair[0]).map(
        lambda pairs: [
            Candidate(UUID(int=number), score) for number, score in sorted(pairs, key=lambda pair: -pair[1])
        ]
    ),
)


@given(LEGS, st.sampled_from([DEFAULT, RRF]), st.sampled_from(QueryClass))
def test_every_candidate_is_there_once_and_relevance_never_rises(answers, variant, query_class):
    fused = fuse(answers, query_class, variant)
    assert {one.content_id for one in fused} == {c.content_id for leg in answers.values() for c in leg}
    assert len({one.content_id for one in fused}) == len(fused)
    relevance = [one.relevance for one in fused]
    assert relevance == sorted(relevance, reverse=True)
    assert all(0 <= value <= UNCERTAIN for value in relevance)


@pytest.mark.parametrize("variant", [DEFAULT, RRF])
def test_certain_matches_come_first_whatever_the_others_say(variant):
    sure = some(1e6, 1e5, certain=1.0)
    answers = {"text": [*sure, *some(30.0, first=5)], "vector": some(0.9, 0.8, first=5)}
    fused = fuse(answers, QueryClass.DESCRIPTIVE, variant)
    assert [one.content_id.int for one in fused] == [0, 1, 5, 6]
    assert fused[0].relevance == 1.0


def test_both_legs_together_beat_the_best_of_either():
    answers = {"text": some(10.0, 9.0, first=1), "vector": some(0.6, 0.59, 0.2, first=2)}
    assert numbers(answers)[0] == 2


def test_an_order_without_one_leg_is_that_of_the_others():
    assert numbers({"text": some(3.0, 2.0, 1.0)}) == [0, 1, 2]
    assert numbers({"vector": some(0.3, 0.2, 0.1)}) == [0, 1, 2]
    assert numbers({}) == []


def test_small_differences_between_word_scores_stay_small():
    first, second = fuse({"text": some(10.0, 9.9)}, QueryClass.DESCRIPTIVE, weighing(text=1.0))
    assert first.relevance == UNCERTAIN
    assert second.relevance > 0.98 * UNCERTAIN


def test_reciprocal_ranks_are_as_published():
    # Cormack, Clarke and Büttcher 2009: the sum of 1 / (k + rank), so being second twice beats being first once.
    answers = {"text": some(9.0, 8.0, first=1), "vector": some(0.9, 0.8, first=3)}
    answers["vector"][1] = Candidate(UUID(int=2), 0.8)
    assert numbers(answers, weighing(fusion="rrf", text=0.5, vector=0.5))[0] == 2


def test_scores_are_told_by_leg():
    answers = {"text": some(7.0), "title": some(0.5), "vector": some(0.4)}
    (one,) = fuse(answers, QueryClass.DESCRIPTIVE, DEFAULT)
    assert one.scores == {"text": 1.0, "title": 0.5, "vector": 0.4}


@pytest.mark.parametrize(
    ("query", "likeness", "expected"),
    [
        ("the godfather", 0.0, QueryClass.TITLE_LIKE),
        ("a man who can not form new memories hunts the murderer of his wife", 0.3, QueryClass.DESCRIPTIVE),
        ("dr strangelove or how i learned to stop worying and love the bomb", 0.97, QueryClass.TITLE_LIKE),
    ],
)
def test_a_query_is_taken_for_a_title_if_short_or_like_one(query, likeness, expected):
    assert class_of(analyse(query), some(likeness)) is expected
