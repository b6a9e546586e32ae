import pytest
from hypothesis import given, strategies as st

from media_gateway.core.domain.content import ContentType, SeriesData
from media_gateway.ingestion.identity.keys import (
    exact_keys,
    normalise_name,
    normalise_title,
    numbers,
    title_keys,
)
from tests.support.catalogue import record


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Matrix", "matrix"),
        ("Matrix, The", "The Matrix"),
        ("AMÉLIE", "Amelie"),
        ("Amélie", "Ame\u0301lie"),
        ("Spider-Man: No Way Home", "Spider Man No Way Home"),
        ("Ocean's Eleven", "Ocean\u2019s Eleven"),
        ("Ocean's Eleven", "Oceans Eleven"),
        ("Smørrebrød", "smorrebrod"),
        ("Romeo & Juliet", "Romeo and Juliet"),
        ("L'Avventura", "l\u2019avventura"),
        ("Straße", "STRASSE"),
        ("\uff21\uff2c\uff29\uff25\uff2e", "Alien"),
        ("  A   Bug's Life ", "Bugs Life"),
        ("Żółć", "zolc"),
    ],
)
def test_spellings_of_one_title_have_one_key(one, other):
    assert normalise_title(one) == normalise_title(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Die Hard", "Hard"),
        ("Alien", "Aliens"),
        ("किल", "कल"),
        ("!!!", "???"),
        ("10", "11"),
        ("The", "A"),
        ("x" * 400 + "a", "x" * 400 + "b"),
    ],
)
def test_different_titles_have_different_keys(one, other):
    assert normalise_title(one) != normalise_title(other)


@given(st.text(min_size=1, max_size=500).filter(lambda text: text.strip()))
def test_any_title_has_a_key_that_fits_an_index_and_is_stable(title):
    key = normalise_title(title)
    assert key
    assert len(key.encode()) <= 1000
    assert normalise_title(title) == key
    assert normalise_name(title)


def test_numbers_of_a_title_are_digits_roman_numerals_and_words():
    assert numbers(normalise_title("Rocky III: Part Two of 3")) == ["iii", "two", "3"]
    assert numbers("matrix reloaded") == []


def test_title_without_a_year_is_compared_with_nothing():
    keys = title_keys(record("1", title="The Matrix", release_year=None))
    assert (keys.title_hash, keys.block_head, keys.block_tail) == (None, None, None)


def test_title_hash_depends_on_title_year_and_type_only():
    matrix = title_keys(record("1", title="The Matrix")).title_hash
    assert title_keys(record("2", title="MATRIX", source="other", imdb="tt0133093")).title_hash == matrix
    assert title_keys(record("1", title="The Matrix", release_year=2000)).title_hash != matrix
    assert title_keys(record("1", title="The Matrix", content_type=ContentType.SERIES)).title_hash != matrix


def test_episodes_are_compared_only_when_their_place_in_the_series_is_known():
    def pilot(**series: object) -> int | None:
        data = SeriesData.model_validate(series)
        return title_keys(
            record("1", title="Pilot", content_type=ContentType.EPISODE, series=data)
        ).title_hash

    assert pilot() is None
    assert pilot(series_id="lost", season_number=1) is None
    first = pilot(series_id="lost", season_number=1, episode_number=1)
    assert first is not None
    assert pilot(series_id="lost", season_number=1, episode_number=1) == first
    assert pilot(series_id="fringe", season_number=1, episode_number=1) != first


@pytest.mark.parametrize(
    ("content_type", "series", "kind"),
    [
        (ContentType.MOVIE, None, "tmdb:movie"),
        (ContentType.SERIES, None, "tmdb:tv"),
        (ContentType.EPISODE, None, "tmdb:episode"),
        (ContentType.DOCUMENTARY, None, "tmdb:movie"),
        (ContentType.DOCUMENTARY, SeriesData(total_seasons=2), "tmdb:tv"),
    ],
)
def test_tmdb_ids_of_films_and_series_are_different_kinds(content_type, series, kind):
    assert exact_keys(record("1", content_type=content_type, series=series, tmdb=603)) == ((kind, "603"),)


def test_every_exact_id_is_a_key_strongest_first():
    keys = exact_keys(
        record(
            "1",
            eidr="10.5240/7791-8534-2C23-9030-8610-5",
            imdb="tt0133093",
            wikidata="Q83495",
            platforms={"netflix": "20557937"},
        )
    )
    assert [kind for kind, _ in keys] == ["eidr", "imdb", "wikidata", "platform:netflix"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Shawshank Redemption", "Shawshenk Redemption"),
        ("Goodfellas", "Good Fellas"),
        ("Gladiator", "Gladiatro"),
        ("Amadeus", "Amadeuss"),
        ("Intersteller", "Interstellar"),
    ],
)
def test_similar_titles_share_a_block(one, other):
    stored = title_keys(record("1", title=one))
    heads, tails = title_keys(record("2", title=other)).probes()
    assert stored.block_head in heads or stored.block_tail in tails
