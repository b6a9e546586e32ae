"""The order of results for one person: the formula, what is never moved, and a sona that is slow, broken or away."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from media_gateway.discovery.fusion import Fused
from media_gateway.discovery.personalisation import DEPTH, Asker, PersonalOrder, SonaScores, blended
from tests.support.sona import Sona, running_sona

ASKER = Asker("user-1", "a.token")
IDS = [UUID(int=number + 1) for number in range(300)]


def results(*relevances: float) -> list[Fused]:
    return [Fused(IDS[place], relevance, {}) for place, relevance in enumerate(relevances)]


def order(found: list[Fused]) -> list[int]:
    return [one.content_id.int for one in found]


def test_the_blend_is_the_weighted_sum_of_both_on_one_scale():
    found = blended(results(0.8, 0.6, 0.4), {IDS[0]: 10.0, IDS[1]: 20.0, IDS[2]: 30.0}, 0.25)
    # Shares .75, .375 + .125, .25: as before. The relevance told keeps its range.
    assert order(found) == [1, 2, 3]
    assert [one.relevance for one in found] == [0.7, 0.6, 0.5]
    turned = blended(results(0.8, 0.6, 0.4), {IDS[0]: 10.0, IDS[1]: 20.0, IDS[2]: 30.0}, 0.6)
    assert order(turned) == [3, 2, 1]
    assert turned[0].scores == {"personal": 30.0}


def test_without_any_score_and_without_weight_nothing_moves():
    plain = results(0.8, 0.6, 0.4)
    assert blended(plain, {}, 0.6) == plain
    assert order(blended(plain, {IDS[2]: 1.0, IDS[0]: 0.0}, 0.0)) == [1, 2, 3]


def test_what_nothing_is_known_of_stands_between_liked_and_disliked():
    found = blended(results(0.5, 0.5, 0.5), {IDS[0]: 0.1, IDS[2]: 0.9}, 0.4)
    assert order(found) == [3, 2, 1]


@given(
    st.lists(st.tuples(st.floats(0, 0.9), st.none() | st.floats(-1, 1)), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_nothing_is_lost_and_relevance_never_rises(pairs, weight):
    plain = results(*sorted((relevance for relevance, _ in pairs), reverse=True))
    scores = {
        one.content_id: score for one, (_, score) in zip(plain, pairs, strict=True) if score is not None
    }
    found = blended(plain, scores, weight)
    assert sorted(order(found)) == sorted(order(plain))
    assert all(first.relevance >= second.relevance for first, second in pairwise(found))


@pytest.fixture
def sona() -> Sona:
    return Sona()


@pytest.fixture
async def personal(sona: Sona) -> AsyncIterator[PersonalOrder]:
    async with running_sona(sona) as url:
        scores = SonaScores(url)
        yield PersonalOrder(scores)
        await scores.close()


async def test_whole_titles_and_what_lies_deep_keep_their_places(sona, personal):
    pool = results(1.0, 0.92, *(0.8 - place / 1000 for place in range(298)))
    found, done = await personal.of(pool, ASKER, 0.6)
    assert done
    ((ids, authorization),) = sona.asked
    assert ids == [str(one.content_id) for one in pool[2:DEPTH]]
    assert authorization == "Bearer a.token"
    assert order(found)[:2] == [1, 2]
    assert order(found)[2:DEPTH] == order(pool[2:DEPTH])[::-1]
    assert found[DEPTH:] == pool[DEPTH:]


@pytest.mark.parametrize("answer", [{}, {"scores": [{"content_id": "x", "score": 1}]}, {"scores": None}, []])
async def test_an_answer_that_makes_no_sense_changes_nothing(sona, personal, answer):
    sona.answer = answer
    pool = results(0.8, 0.6)
    assert await personal.of(pool, ASKER, 0.6) == (pool, False)


async def test_a_sona_that_hangs_is_not_waited_for_and_soon_not_asked_any_more(sona, personal):
    sona.hangs = True
    pool = results(0.8, 0.6)
    async with asyncio.timeout(10):
        for _ in range(30):
            assert await personal.of(pool, ASKER, 0.6) == (pool, False)
    assert len(sona.asked) < 30


async def test_a_sona_that_is_away_changes_nothing():
    scores = SonaScores("http://127.0.0.1:9")
    pool = results(0.8, 0.6)
    assert await PersonalOrder(scores).of(pool, ASKER, 0.6) == (pool, False)
    await scores.close()


async def test_nothing_found_asks_nobody(sona, personal):
    assert await personal.of(results(1.0), ASKER, 0.6) == (results(1.0), True)
    assert sona.asked == []
