import pytest
from hypothesis import given, strategies as st

from media_gateway.discovery.text_index import analyse
from media_gateway.discovery.text_index.analysis import MAX_WORDS, fold, grams, loose, series_keys


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("The Godfather", "the godfather"),
        ("  WALL·E ", "wall e"),
        ("Amélie", "amelie"),
        ("Ocean\u2019s Eleven", "oceans eleven"),
        ("Ocean's Eleven", "oceans eleven"),
        ("Fast & Furious", "fast and furious"),
        ("Kød og Łódź", "kod og lodz"),
        ("STRASSE Straße", "strasse strasse"),
        ("七人の侍", "七人の侍"),
        ("$", "$"),
        ("", ""),
    ],
)
def test_titles_fold_to_what_people_type(written, folded):
    assert fold(written) == folded


@given(st.text(max_size=100))
def test_folding_twice_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=600))
def test_every_text_is_a_query(text):
    query = analyse(text)
    assert len(query.terms) <= MAX_WORDS
    assert set(query.terms) <= set(query.words)
    assert grams(query.key)


def test_article_and_spaces_are_optional():
    assert loose(fold("The Spider-Man")) == loose(fold("spiderman"))


@pytest.mark.parametrize(
    ("title", "shared"),
    [
        ("Star Wars: Episode IV \u2013 A New Hope", ("starwars",)),
        ("The Godfather Part II", ("godfather",)),
        ("Kill Bill: Volume 1", ("killbill",)),
        ("Toy Story 3", ("toystory",)),
        ("The Matrix", ()),
        ("2001", ()),
    ],
)
def test_sequels_share_a_name(title, shared):
    assert set(shared) <= set(series_keys(title))
    assert bool(shared) == bool(series_keys(title))


def test_filler_words_are_dropped_unless_nothing_else_is_asked():
    assert analyse("movies with the Rock").terms == ("rock",)
    assert analyse("to be or not to be").terms == ("not",)
    assert analyse("It").terms == ("it",)


def test_a_year_at_the_end_is_seen():
    assert analyse("Dune (1984)").title_and_year == ("dune", 1984)
    assert analyse("1984").title_and_year is None
