"""The ranking document: what it accepts, by which name it refuses the rest, and what is built in."""

import json

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from media_gateway.core.errors import InvalidInputError
from media_gateway.core.web.parsing import parse_json
from media_gateway.discovery.ranking import (
    BUILT_IN,
    MAX_VARIANTS,
    InForce,
    LegWeights,
    Ranking,
    Variant,
)

EVEN = {"text": 0.5, "title": 0.5, "vector": 0}

WRONG_VARIANTS = [
    ({"fusion": "sum"}, "fusion"),
    ({"rrf_k": 0}, "rrf_k"),
    ({"rrf_k": 1001}, "rrf_k"),
    ({"rrf_k": 2.5}, "rrf_k"),
    ({"rrf_k": "5"}, "rrf_k"),
    ({"personalisation_weight": -0.01}, "personalisation_weight"),
    ({"personalisation_weight": 1.01}, "personalisation_weight"),
    ({"personalization_weight": 0.5}, "personalization_weight"),
    ({"min_similarity": 1.5}, "min_similarity"),
    ({"min_similarity": None}, "min_similarity"),
    ({"leg_timeouts_ms": {"text": 0}}, "leg_timeouts_ms.text"),
    ({"leg_timeouts_ms": {"vector": 60_000}}, "leg_timeouts_ms.vector"),
    ({"leg_timeouts_ms": {"graph": 10}}, "leg_timeouts_ms.graph"),
    ({"reranker": "yes"}, "reranker"),
    ({"weights": {"title_like": EVEN | {"text": 0.6}}}, "weights.title_like"),
    ({"weights": {"descriptive": {"text": 0.3, "title": 0.3, "vector": 0.3}}}, "weights.descriptive"),
    ({"weights": {"descriptive": EVEN | {"vector": 0.00021}}}, "weights.descriptive"),
    ({"weights": {"descriptive": {"text": 1.5, "title": -0.5, "vector": 0}}}, "weights.descriptive.title"),
    ({"weights": {"descriptive": {"text": 1}}}, "weights.descriptive.title"),
    ({"weights": {"question_like": EVEN}}, "weights.question_like"),
]

WRONG_DOCUMENTS = [
    ({"variants": {"mine": variant}}, f"variants.mine.{field}") for variant, field in WRONG_VARIANTS
] + [
    ({"default_variant": "nowhere"}, "default_variant"),
    ({"default_variant": 1}, "default_variant"),
    ({"variants": {"Mine": {}}}, "variants.Mine"),
    ({"variants": {"": {}}}, "variants."),
    ({"variants": {"2nd": {}}}, "variants.2nd"),
    ({"variants": {"a" * 64: {}}}, "variants.a"),
    ({"variants": {f"v{n}": {} for n in range(MAX_VARIANTS + 1)}}, "variants"),
    ({"variants": []}, "variants"),
    ({"version": 3}, "version"),
]


@pytest.mark.parametrize(("document", "field"), WRONG_DOCUMENTS, ids=[field for _, field in WRONG_DOCUMENTS])
def test_wrong_documents_are_refused_by_the_name_of_the_field(document, field):
    with pytest.raises(InvalidInputError) as caught:
        parse_json(Ranking, json.dumps(document).encode())
    assert any(error.field.startswith(field) for error in caught.value.errors), caught.value.errors


@pytest.mark.parametrize("miss", [1e-4, -1e-4, 5e-5])
def test_weights_may_miss_one_by_a_ten_thousandth(miss):
    assert LegWeights(text=0.5 + miss, title=0.2, vector=0.3).vector == 0.3
    with pytest.raises(ValidationError, match=r"must add up to 1, they add up to 1\.0003"):
        LegWeights(text=0.5003, title=0.2, vector=0.3)


def test_built_in_variants_hold_the_documented_weights():
    default = BUILT_IN["default"]
    assert default.fusion == "minmax"
    assert default.weights.descriptive == LegWeights(text=0.7, title=0, vector=0.3)
    assert default.weights.title_like == LegWeights(text=0.34, title=0.51, vector=0.15)
    assert default.min_similarity == 0
    spec = BUILT_IN["spec"]
    assert (spec.fusion, spec.rrf_k, spec.min_similarity) == ("rrf", 60, 0.7)
    for legs in (spec.weights.title_like, spec.weights.descriptive):
        # The original's .35 and .20 in their ratio, brought to a sum of 1.
        assert legs.vector / legs.text == pytest.approx(0.35 / 0.20)
        assert legs.text + legs.vector == 1
    assert (BUILT_IN["rrf"].fusion, BUILT_IN["rrf"].rrf_k) == ("rrf", 5)
    assert [name for name in BUILT_IN if not BUILT_IN[name].reranker] == ["spec", "rrf", "fused"]
    assert BUILT_IN["fused"] == default.model_copy(update={"reranker": False})
    weights = {name: BUILT_IN[name].personalisation_weight for name in BUILT_IN}
    names = ("control", "low", "medium", "high", "aggressive", "default")
    assert [weights[name] for name in names] == [0, 0.15, 0.25, 0.40, 0.60, 0.25]


@pytest.mark.parametrize("name", ["control", "low", "medium", "high", "aggressive"])
def test_personalisation_variants_differ_from_the_default_in_nothing_else(name):
    weight = BUILT_IN[name].personalisation_weight
    assert BUILT_IN[name] == BUILT_IN["default"].model_copy(update={"personalisation_weight": weight})


parts = st.integers(0, 1000)
legs = st.tuples(parts, parts, parts).filter(any)


def normal(values: tuple[int, int, int]) -> dict[str, float]:
    return {
        name: value / sum(values) for name, value in zip(("text", "title", "vector"), values, strict=True)
    }


variants = st.fixed_dictionaries(
    {},
    optional={
        "fusion": st.sampled_from(["minmax", "rrf"]),
        "rrf_k": st.integers(1, 1000),
        "weights": st.fixed_dictionaries(
            {}, optional={"title_like": legs.map(normal), "descriptive": legs.map(normal)}
        ),
        "personalisation_weight": st.floats(0, 1),
        "min_similarity": st.floats(0, 1),
        "leg_timeouts_ms": st.fixed_dictionaries({}, optional={"text": st.integers(1, 10_000)}),
        "reranker": st.booleans(),
    },
)
documents = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True), variants, max_size=5)


@given(own=documents, data=st.data())
def test_what_is_accepted_survives_storing_and_gives_every_variant_by_its_name(own, data):
    default = data.draw(st.sampled_from([*own, *BUILT_IN]))
    document = {"variants": own, "default_variant": default}
    ranking = parse_json(Ranking, json.dumps(document).encode())
    assert Ranking.model_validate(json.loads(ranking.model_dump_json())) == ranking
    configuration = InForce(1, ranking)
    assert configuration.variant(None).name == default
    for name in {*own, *BUILT_IN}:
        expected = BUILT_IN.get(name) or Variant.model_validate(own[name])
        assert configuration.variant(name) == (name, expected)


@given(first=documents, second=documents)
def test_configurations_share_a_version_only_if_they_rank_alike(first, second):
    one = InForce(7, Ranking.model_validate({"variants": first}))
    other = InForce(7, Ranking.model_validate({"variants": second}))
    assert (one.version == other.version) == (one.variants == other.variants)
    assert one.version != InForce(8, one.ranking).version


@given(values=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)))
def test_weights_are_accepted_exactly_if_they_add_up(values):
    accepted = True
    try:
        LegWeights(**dict(zip(("text", "title", "vector"), values, strict=True)))
    except ValidationError:
        accepted = False
    miss = abs(sum(values) - 1)
    assert accepted == (miss <= 1e-4) or abs(miss - 1e-4) < 1e-8


def test_an_unknown_variant_is_refused_with_the_known_names():
    configuration = InForce(1, Ranking(variants={"mine": Variant()}))
    with pytest.raises(InvalidInputError) as caught:
        configuration.variant("yours")
    (error,) = caught.value.errors
    assert error.field == "variant"
    assert "mine" in error.message
    assert "aggressive" in error.message


def test_a_stored_variant_that_a_release_builds_in_later_gives_way_to_it():
    stored = Ranking.model_validate({"variants": {"spec": {"rrf_k": 9}}})
    assert InForce(1, stored).variant("spec").settings == BUILT_IN["spec"]
