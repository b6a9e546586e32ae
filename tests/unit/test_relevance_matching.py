"""Which results count as right answers."""

from uuid import UUID, uuid4

from hypothesis import given, strategies as st

from media_gateway.cli.evaluation.matching import Relevant, Result, fold, gains_of

TITLES = st.sampled_from(["Alien", "Aliens", "The Thing", "Amélie", "amelie!", "$"])
YEARS = st.one_of(st.none(), st.integers(1979, 1984))
RESULTS = st.lists(st.builds(Result, st.uuids(), TITLES, YEARS), max_size=8)
RELEVANT = st.lists(
    st.builds(Relevant, st.none(), TITLES, YEARS, st.sampled_from([1.0, 2.0])), min_size=1, max_size=6
)


def result(title: str, year: int | None = None, known: UUID | None = None) -> Result:
    return Result(known or uuid4(), title, year)


def named(title: str, year: int | None = None, grade: float = 1.0) -> Relevant:
    return Relevant(None, title, year, grade)


def test_titles_are_compared_without_case_accents_and_punctuation_but_with_articles():
    assert fold("Léon: The Professional") == fold("leon the professional") == "leon the professional"
    assert fold("Dr. Strangelove") == fold("DR STRANGELOVE")
    assert fold("Monty Python\u2019s Life of Brian") == fold("monty pythons life of brian")
    assert fold("Fast & Furious") == fold("fast and furious")
    assert fold("The Alamo") != fold("Alamo")
    assert len({fold("$"), fold("!!!"), fold("?")}) == 3


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


def test_a_year_may_differ_by_one_and_no_more():
    results = [result("Alien", 1980)]
    assert gains_of(results, [named("Alien", 1979)]) == [1.0]
    assert gains_of(results, [named("Alien", 1978)]) == [0.0]
    assert gains_of(results, [named("Alien")]) == [1.0]
    assert gains_of([result("Alien", None)], [named("Alien", 1979)]) == [0.0]


def test_the_exact_year_is_preferred_to_the_year_beside_it():
    results = [result("Alien", 1980), result("Alien", 1979)]
    assert gains_of(results, [named("Alien", 1979)]) == [0.0, 1.0]


def test_an_id_is_matched_by_nothing_else():
    wanted = uuid4()
    results = [result("Alien", 1979), result("Another name", 1900, wanted)]
    assert gains_of(results, [Relevant(wanted, None, None, 2.0)]) == [0.0, 2.0]
    assert gains_of(results[:1], [Relevant(wanted, None, None)]) == [0.0]


def test_a_right_answer_counts_once_and_so_does_a_repeated_result():
    twice = result("Alien", 1979)
    assert gains_of([twice, twice], [named("Alien", 1979)]) == [1.0, 0.0]
    assert gains_of([twice, twice], [named("Alien", 1979), named("Alien", 1980)]) == [1.0, 0.0]
    assert gains_of([result("Alien", 1979), result("Alien", 1979)], [named("Alien", 1979)]) == [1.0, 0.0]


@given(RESULTS, RELEVANT)
def test_gains_are_grades_given_at_most_once_each(results, relevant):
    gains = gains_of(results, relevant)
    assert len(gains) == len(results)
    grades = [one.grade for one in relevant]
    for gain in gains:
        if gain:
            grades.remove(gain)


@given(RESULTS, RELEVANT)
def test_a_result_is_right_only_if_some_answer_fits_it(results, relevant):
    for place, gain in enumerate(gains_of(results, relevant)):
        fits = [
            one
            for one in relevant
            if fold(one.title or "") == fold(results[place].title)
            and (one.year is None or abs((results[place].year or 0) - one.year) <= 1)
        ]
        assert not gain or gain in {one.grade for one in fits}


@given(RESULTS, RELEVANT, st.randoms(use_true_random=False))
def test_the_order_of_right_answers_changes_no_count(results, relevant, chance):
    shuffled = chance.sample(relevant, len(relevant))
    assert sum(gain > 0 for gain in gains_of(results, shuffled)) == sum(
        gain > 0 for gain in gains_of(results, relevant)
    )
