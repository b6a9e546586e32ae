"""Weights are learned from one half of the judged queries, tried on the other, and come out the same every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media_gateway.cli.evaluation.matching import Relevant
from media_gateway.cli.evaluation.pairs import JudgedQuery, Pairs
from media_gateway.cli.evaluation.training import Example, is_held_out, train, write_model
from media_gateway.core.errors import InvalidInputError
from media_gateway.discovery.reranking import Features, RerankingModel

NAMES = sorted(Features._fields)
TELLING = NAMES.index("passage")
"""The only feature of the made-up examples that tells the right answer."""


def examples(count: int = 200) -> list[Example]:
    chance = np.random.default_rng(7)
    made = []
    for number in range(count):
        query = JudgedQuery(
            number + 1, f"query {number}", "synopsis", (Relevant(None, f"Film {number}", 2000),)
        )
        features = chance.random((20, len(NAMES)))
        right = int(chance.integers(20))
        features[right, TELLING] += 1.0
        gains = np.zeros(20)
        gains[right] = 1.0
        made.append(Example(query, features, gains, (), ()))
    return made


def test_what_tells_right_answers_is_learned_and_holds_for_queries_not_seen():
    training = train(NAMES, examples())
    weights = dict(training.weights)
    telling = weights.pop("passage")
    assert telling > 3 * max(abs(weight) for weight in weights.values())
    held_out = training.held_out
    assert held_out.queries + training.learned_from.queries == 200
    assert held_out.came < 0.5
    assert held_out.trained > 0.9
    assert held_out.difference.is_significant


def test_the_same_examples_give_the_same_bytes_and_discovery_reads_them(tmp_path):
    pairs = Pairs(Path("judged.jsonl"), "ab" * 32, tuple(one.query for one in examples()))
    for name in ("one.json", "two.json"):
        write_model(tmp_path / name, train(NAMES, examples()), pairs)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    model = RerankingModel.read(tmp_path / "one.json")
    assert model.weights.keys() == set(NAMES)
    assert model.trained_on["pairs_sha256"] == pairs.sha256


def test_queries_for_one_film_are_in_one_half():
    one = examples(1)[0].query
    again = replace(one, line=99, text="another description", relevant=(Relevant(None, "FILM 0", None),))
    assert is_held_out(one) == is_held_out(again)


def test_too_few_queries_are_refused():
    with pytest.raises(InvalidInputError, match="at least 50 are needed"):
        train(NAMES, examples(60))


def test_queries_whose_film_is_not_among_what_is_ranked_count_as_missed():
    made = examples()
    without = [replace(one, gains=np.zeros(20)) if is_held_out(one.query) else one for one in made]
    assert train(NAMES, without).held_out.trained == 0.0


def test_a_model_that_can_not_be_written_is_told(tmp_path):
    pairs = Pairs(Path("judged.jsonl"), "", ())
    with pytest.raises(InvalidInputError, match="--write"):
        write_model(tmp_path / "no" / "model.json", train(NAMES, examples()), pairs)
