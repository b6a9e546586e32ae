"""Descriptions are ordered by how a content matches them: nothing is lost, certain matches stay first, models are checked."""

import json
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from media_gateway.core.errors import InvalidInputError
from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.fusion import UNCERTAIN, Fused
from media_gateway.discovery.reranking import DEPTH, SHIPPED, Asked, Features, Reranker, RerankingModel
from media_gateway.discovery.text_index import TextIndex, Wording, analyse
from tests.support.searching import search, titles

CATALOGUE = 80

QUERY = analyse(
    "A lonely beekeeper in the swamps protects his two granddaughters from crooks, with Peter Fonda"
)


def content(number: int, title: str, overview: str, *people: str) -> IndexedContent:
    return IndexedContent(
        content_id=UUID(int=number),
        revision=1,
        content_type="movie",
        title=title,
        overview=overview,
        people=tuple(Person("actor", name) for name in people),
    )


FILLER = "A long story about a village and its people and all that they did before the war began again. " * 3
TOGETHER = content(
    1, "Gold", f"{FILLER} A lonely beekeeper protects his granddaughters in the swamps.", "Peter Fonda"
)
SCATTERED = content(
    2,
    "Silver",
    f"The swamps. {FILLER} A beekeeper. {FILLER} Three granddaughters. {FILLER} He protects Peter, {FILLER} not Mr. Fonda.",
    "Peter Best",
    "Jane Fonda",
)


@pytest.fixture(scope="module")
def index() -> TextIndex:
    made = TextIndex()
    others = [
        content(n, f"Other {n}", f"Something about crooks and number {n}.") for n in range(3, CATALOGUE)
    ]
    made.apply([TOGETHER, SCATTERED, *others])
    made.commit()
    return made


@pytest.fixture(scope="module")
def reranker(index: TextIndex) -> Reranker:
    return Reranker(index, RerankingModel.read(SHIPPED))


def pool(*numbers: int, certain: int = 0, vector: bool = True) -> list[Fused]:
    """The first so many are certain; places have falling relevance."""
    return [
        Fused(
            UUID(int=number),
            0.9 if place < certain else UNCERTAIN * (1 - place / 1000),
            {"vector": 0.5 - place / 1000} if vector else {},
        )
        for place, number in enumerate(numbers)
    ]


@given(
    numbers=st.lists(st.integers(1, 2 * CATALOGUE), unique=True, max_size=2 * DEPTH),
    certain=st.integers(0, 5),
    vector=st.booleans(),
)
def test_nothing_is_lost_and_relevance_never_rises(reranker, numbers, certain, vector):
    fused = pool(*numbers, certain=certain, vector=vector)
    ordered = reranker.reranked(QUERY, fused)
    assert sorted(one.content_id.int for one in ordered) == sorted(numbers)
    assert [one.relevance for one in ordered] == [one.relevance for one in fused]
    assert ordered == reranker.reranked(QUERY, fused)
    scores = {one.content_id: one.scores for one in fused}
    assert all(one.scores == scores[one.content_id] for one in ordered)


def test_certain_matches_stay_first_and_what_lies_deep_stays_where_it_is(reranker):
    numbers = [*range(3, 3 + 2 + DEPTH), 1]
    ordered = [one.content_id.int for one in reranker.reranked(QUERY, pool(*numbers, certain=2))]
    assert ordered[:2] == numbers[:2]
    assert ordered[-1] == 1, "the best match is behind what is looked at"
    assert reranker.reranked(QUERY, pool(*numbers[:-2], 1, certain=2))[2].content_id.int == 1


def test_equals_keep_their_order(index):
    model = RerankingModel(weights=dict.fromkeys(Features._fields, 0.0), trained_on={})
    numbers = [9, 2, 40, 1, 5]
    ordered = Reranker(index, model).reranked(QUERY, pool(*numbers))
    assert [one.content_id.int for one in ordered] == numbers


def test_words_that_stand_together_beat_the_same_words_scattered(reranker):
    first, second = reranker.reranked(QUERY, pool(2, 1, vector=False))
    assert (first.content_id, second.content_id) == (TOGETHER.content_id, SCATTERED.content_id)
    assert first.features["passage"] > second.features["passage"]
    assert first.features["adjacent"] > second.features["adjacent"]
    assert (first.features["names"], second.features["names"]) == (1.0, 0.0)


def asked(text: str) -> Asked:
    query = analyse(text)
    return Asked.of(query, dict.fromkeys(query.terms, 1.0))


def test_features_are_shares_of_the_words_of_the_query():
    found = asked("young sailor meets old captain").features(
        Wording(overview=("the", "old", "captain", "and", "a", "sailor")), 0.25
    )
    assert found.meaning == 0.25
    assert found.coverage == pytest.approx(3 / 5)
    assert found.passage == pytest.approx(3 / 5)
    # Of young-sailor, sailor-meets, meets-old and old-captain the last one.
    assert found.adjacent == pytest.approx(1 / 4)


def test_a_word_said_twice_counts_once_and_one_far_off_not_at_all():
    far = ("sailor", "sailor", *["and"] * 40, "captain")
    found = asked("sailor captain").features(Wording(overview=far), 0.0)
    assert (found.passage, found.coverage, found.adjacent) == (0.5, 1.0, 0.0)


def test_people_and_facts_count_as_words():
    wording = Wording(facts=("comedi",), names=("peter fonda", "jane fonda"))
    found = asked("comedy with peter fonda").features(wording, 0.0)
    assert found.coverage == 1.0
    assert found.names == 1.0


def test_only_descriptions_are_ranked_anew(index):
    described = search(index, QUERY.text)
    assert described[0].content.title == "Gold"
    assert described[0].features
    assert not search(index, "gold")[0].features
    assert titles(index, "Silver")[0] == "Silver"


WORDS = st.lists(st.from_regex(r"[a-z0-9à-ÿ]{1,8}", fullmatch=True), max_size=8)


@given(WORDS, WORDS, st.lists(WORDS.filter(bool).map(" ".join), max_size=4))
def test_wordings_are_read_back_as_written(overview, facts, names):
    wording = Wording(tuple(overview), tuple(facts), tuple(names))
    assert Wording.from_bytes(wording.to_bytes()) == wording


def test_the_shipped_model_counts_every_feature_in_favour():
    weights = RerankingModel.read(SHIPPED).weights
    assert all(weight > 0 for weight in weights.values())


WEIGHTS = dict.fromkeys(Features._fields, 1.0)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (
            {"weights": WEIGHTS | {"popularity": 1}, "trained_on": {}},
            "weights: must be of the features meaning",
        ),
        ({"weights": {"meaning": 1}, "trained_on": {}}, "these are of meaning"),
        ({"weights": WEIGHTS | {"names": "many"}, "trained_on": {}}, r"weights\.names"),
        ({"weights": WEIGHTS}, "trained_on"),
        ({"weights": WEIGHTS, "trained_on": {}, "bias": 1}, "bias"),
    ],
)
def test_a_model_of_other_features_is_refused(tmp_path, document, told):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError, match=told) as caught:
        RerankingModel.read(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("body", ["", "[]", '{"weights": {"names": NaN}}'])
def test_a_file_that_is_no_model_is_refused(tmp_path, body):
    path = tmp_path / "model.json"
    path.write_text(body)
    with pytest.raises(InvalidInputError):
        RerankingModel.read(path)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"gone\.json: no such file"):
        RerankingModel.read(tmp_path / "gone.json")
