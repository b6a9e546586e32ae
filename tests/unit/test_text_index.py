from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings, strategies as st

from media_gateway.discovery.documents import IndexedContent, Offer, Person
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.text_index import TextIndex, analyse, certainty, match_reasons
from tests.support.searching import search, titles, why

ANYTHING = SearchFilter()


def film(title, *, year=2000, pop=0.5, people=(), **facts) -> IndexedContent:
    return IndexedContent(
        content_id=facts.pop("id", None) or uuid4(),
        revision=facts.pop("revision", 1),
        content_type=facts.pop("content_type", "movie"),
        title=title,
        release_year=year,
        popularity_score=pop,
        people=tuple(Person("director" if n == 0 else "actor", name) for n, name in enumerate(people)),
        **facts,
    )


FILMS = (
    film(
        "The Godfather", year=1972, pop=0.6, people=("Francis Ford Coppola", "Al Pacino"), genres=("crime",)
    ),
    film("The Godfather Part II", year=1974, pop=0.8, people=("Francis Ford Coppola", "Al Pacino")),
    film(
        "Disco Godfather",
        year=1979,
        pop=1.0,
        people=("J. Robert Wagoner",),
        overview="The Godfather of disco.",
    ),
    film(
        "Heat", year=1995, pop=0.9, people=("Michael Mann", "Al Pacino", "Robert De Niro"), genres=("crime",)
    ),
    film("Heat", year=1986, pop=0.2, people=("Dick Richards", "Burt Reynolds")),
    film("The Heat", year=2013, pop=1.0, people=("Paul Feig",), genres=("comedy",)),
    film("Amélie", original_title="Le Fabuleux Destin d'Amélie Poulain", year=2001, genres=("romance",)),
    film("Spider-Man", year=2002, pop=1.0),
    film("Star Wars: Episode IV – A New Hope", year=1977, pop=1.0),
    film("Star Wars: The Clone Wars", year=2008, pop=0.1),
    film("Will It Rain", people=("Nobody Known", "Will Smith"), pop=0.1, genres=("comedy",)),
    film("Hitch", people=("Andy Tennant", "Will Smith"), pop=0.9, genres=("comedy", "romance")),
    film(
        "Blade Runner",
        year=1982,
        genres=("science_fiction",),
        platforms=("netflix",),
        offers=(Offer("netflix", "GB", "subscription"), Offer("netflix", "US", "rental")),
        languages=("en", "fr"),
        average_rating=8.1,
        maturity_rating="R",
        keywords=("android",),
    ),
    film(
        "Planet Earth",
        year=2006,
        content_type="series",
        genres=("documentary",),
        platforms=("prime_video",),
        offers=(Offer("prime_video", "GB", "purchase"),),
        languages=("en",),
        average_rating=9.4,
        maturity_rating="TV-G",
    ),
    film("$", year=1971),
)
TITLES = {content.content_id: content.title for content in FILMS}


@pytest.fixture(scope="module")
def index():
    index = TextIndex()
    index.apply(FILMS)
    index.commit()
    yield index
    index.close()


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("The Godfather", "The Godfather"),
        ("the godfather", "The Godfather"),
        ("godfather", "The Godfather"),
        ("amelie", "Amélie"),
        ("le fabuleux destin d'amelie poulain", "Amélie"),
        ("spiderman", "Spider-Man"),
        ("star wars", "Star Wars: Episode IV – A New Hope"),
        ("$", "$"),
    ],
)
def test_a_whole_title_comes_first_however_popular_others_are(index, query, first):
    assert titles(index, query)[0] == first


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("the godfathr", "The Godfather"),
        ("teh godfather", "The Godfather"),
        ("amlie", "Amélie"),
        ("blad runer", "Blade Runner"),
        ("godfathr pacino", "The Godfather Part II"),
    ],
)
def test_typing_errors_are_forgiven(index, query, first):
    assert titles(index, query)[0] == first


def test_films_of_one_name_come_by_popularity_and_a_year_picks_one(index):
    def years(query: str) -> list[int | None]:
        return [result.content.release_year for result in search(index, query, limit=2)]

    assert years("heat") == [1995, 1986]
    assert years("heat 1986")[0] == 1986


def test_a_person_s_films_come_by_popularity(index):
    assert titles(index, "al pacino")[:3] == ["Heat", "The Godfather Part II", "The Godfather"]
    assert titles(index, "Will Smith comedy")[:2] == ["Hitch", "Will It Rain"]
    assert set(titles(index, "coppola")) == {"The Godfather", "The Godfather Part II"}


def test_names_with_typing_errors_are_found(index):
    assert titles(index, "burt reynlds") == ["Heat"]


def test_genres_keywords_and_years_are_words_too(index):
    assert titles(index, "scifi android")[0] == "Blade Runner"
    assert titles(index, "crime 1972")[0] == "The Godfather"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (SearchFilter(genres_any=("crime", "documentary")), {"The Godfather", "Heat", "Planet Earth"}),
        (SearchFilter(genres_any=("crime",), year_from=1990), {"Heat"}),
        (SearchFilter(year_from=1972, year_to=1974), {"The Godfather", "The Godfather Part II"}),
        (SearchFilter(platforms_any=("netflix",)), {"Blade Runner"}),
        (SearchFilter(region="GB"), {"Blade Runner", "Planet Earth"}),
        (SearchFilter(region="GB", availability_types=("subscription",)), {"Blade Runner"}),
        (SearchFilter(region="GB", availability_types=("rental", "purchase")), {"Planet Earth"}),
        (SearchFilter(platforms_any=("netflix",), region="GB", availability_types=("rental",)), set()),
        (SearchFilter(languages_any=("fr", "de")), {"Blade Runner"}),
        (SearchFilter(rating_from=8.1), {"Blade Runner", "Planet Earth"}),
        (SearchFilter(rating_from=8.2, rating_to=9.5), {"Planet Earth"}),
        (SearchFilter(maturity_level=2), {"Planet Earth"}),
        (SearchFilter(maturity_level=3), {"Planet Earth", "Blade Runner"}),
        (SearchFilter(content_types=("series",)), {"Planet Earth"}),
        (SearchFilter(genres_any=("crime",), genres_none=("crime",)), set()),
    ],
)
def test_filters_keep_exactly_what_they_say(index, where, expected):
    found = [index.search(analyse(title), where, limit=50) for title in TITLES.values()]
    assert {TITLES[hit.content_id] for one in found for hit in one.hits} == expected
    assert all(one.total == len(one.hits) for one in found)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(min_size=1, max_size=200),
        st.lists(
            st.sampled_from(
                ['title:"', "AND", "(", ")", "*", "~2", "^9", "[a TO b]", "heat", "-", "+", "\x00", "'; --"]
            )
        ).map(" ".join),
    )
)
def test_no_text_breaks_a_search(index, text):
    found = index.search(analyse(text), ANYTHING, offset=0, limit=5)
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)
    assert found.total >= len(scores)
    for hit in found.hits:
        assert all(match_reasons(analyse(text), *index.worded([hit.content_id])[hit.content_id]))


@given(st.lists(st.floats(min_value=0, max_value=2e6), min_size=2))
def test_certainty_stays_in_its_scale_and_keeps_the_order(scores):
    values = [certainty(score) or 0.0 for score in sorted(scores)]
    assert values == sorted(values)
    assert all(value == 0 or 0.86 <= value <= 1 for value in values)


def test_pages_follow_each_other_without_gap_or_repeat(index):
    query = analyse("the godfather heat crime comedy pacino smith")
    whole = index.search(query, ANYTHING, offset=0, limit=50)
    paged = [
        hit
        for offset in range(0, whole.total, 2)
        for hit in index.search(query, ANYTHING, offset=offset, limit=2).hits
    ]
    assert paged == list(whole.hits)
    assert len(paged) == whole.total


def test_a_changed_content_is_found_by_its_new_words_only():
    index = TextIndex()
    content_id = uuid4()
    index.apply([film("Old Name", id=content_id)])
    index.commit()
    index.apply([film("Fresh Title", id=content_id, revision=2)])
    assert [hit.content_id for hit in index.search(analyse("old name"), ANYTHING, offset=0, limit=5).hits]
    index.commit()
    assert not index.search(analyse("old name"), ANYTHING, offset=0, limit=5).hits
    assert index.search(analyse("fresh title"), ANYTHING, offset=0, limit=5).total == 1
    index.apply([], [content_id])
    index.commit()
    assert not index.search(analyse("fresh title"), ANYTHING, offset=0, limit=5).hits
    assert len(index) == 0
    index.close()


def test_comparison_names_what_is_stale_missing_or_too_many(index):
    same, stale, extra = (content.content_id for content in FILMS[:3])
    missing = UUID(int=7)
    catalogue = {content.content_id: 1 for content in FILMS if content.content_id != extra}
    assert set(index.differing({**catalogue, stale: 2, missing: 1})) == {stale, missing, extra}
    assert same not in index.differing(catalogue)


@pytest.mark.parametrize(
    ("query", "title", "reasons"),
    [
        ("the godfather", "The Godfather", ["title matches exactly"]),
        ("godfather", "The Godfather", ["title matches"]),
        ("heat 1995", "Heat", ["title and year match", "year: 1995"]),
        ("godfather", "The Godfather Part II", ["title begins with it"]),
        (
            "le fabuleux destin d'amelie poulain",
            "Amélie",
            ["title matches exactly (“Le Fabuleux Destin d'Amélie Poulain”)"],
        ),
        ("al pacino", "The Godfather", ["cast: Al Pacino"]),
        ("coppola crime", "The Godfather", ["director: Francis Ford Coppola", "genre: crime"]),
        ("blad runer", "Blade Runner", ["title is similar"]),
        ("burt reynlds", "Heat", ["cast: Burt Reynolds"]),
        ("android", "Blade Runner", ["keyword: android"]),
        (
            "disco wagoner",
            "Disco Godfather",
            ["title: disco", "director: J. Robert Wagoner"],
        ),
    ],
)
def test_reasons_say_what_matched_where(query, title, reasons):
    assert reasons in [why(query, content) for content in FILMS if content.title == title]


def test_what_is_kept_comes_back_whole(index):
    kept = index.contents([content.content_id for content in FILMS] + [uuid4()])
    assert kept == {content.content_id: replace(content, offers=()) for content in FILMS}


def test_query_asked_in_vain_finds_what_is_written_afterwards():
    index = TextIndex()
    index.apply(FILMS)
    index.commit()
    assert titles(index, "zanzibar expedition") == []

    index.apply([film("Up the River", overview="An expedition to Zanzibar.")])
    index.commit()

    assert titles(index, "zanzibar expedition") == ["Up the River"]
    index.close()


def test_ids_of_contents_that_left_do_not_pass_even_without_a_filter():
    index = TextIndex()
    index.apply(FILMS)
    index.commit()
    ids = [content.content_id for content in FILMS]

    index.apply([], removed=ids[:1])
    index.commit()

    assert index.passing([*ids, uuid4()], ANYTHING) == set(ids[1:])
    index.close()
