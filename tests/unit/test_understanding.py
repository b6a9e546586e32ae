"""What of a query becomes a condition, and what is left alone: titles, descriptions, figures of speech."""

from uuid import uuid4

import pytest
from hypothesis import given, strategies as st

from media_gateway.discovery.catalogue_words import CatalogueWords
from media_gateway.discovery.documents import IndexedContent, Offer, Person
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.understanding import Facts, Reader, Understanding, fact_reasons
from media_gateway.discovery.understanding.vocabulary import MOODS
from tests.support.searching import search, titles


def film(title, year, genres="", people=(), **facts) -> IndexedContent:
    offers = tuple(Offer(platform, "US", "subscription") for platform in facts.pop("on", ()))
    return IndexedContent(
        content_id=uuid4(),
        revision=1,
        content_type=facts.pop("kind", "movie"),
        title=title,
        release_year=year,
        genres=tuple(genres.split()),
        people=tuple(Person(role, name) for role, name in people),
        platforms=tuple(offer.platform for offer in offers),
        offers=offers,
        **facts,
    )


ALIEN = film("Alien", 1979, "science_fiction horror", [("director", "Ridley Scott")], popularity_score=0.9)
FILMS = (
    ALIEN,
    film("Aliens", 1986, "science_fiction action", [("director", "James Cameron")], popularity_score=0.8),
    film("Alien", 2004, "comedy", popularity_score=0.1),
    film("Predator", 1987, "science_fiction action", [("director", "John McTiernan")]),
    film("Heat", 1995, "crime thriller", [("director", "Michael Mann"), ("actor", "Al Pacino")]),
    film("Psycho", 1960, "horror thriller", [("director", "Alfred Hitchcock")]),
    film("Hitchcock", 2012, "drama", [("actor", "Anthony Hopkins"), ("director", "Sacha Gervasi")]),
    film("The Birds", 1963, "horror", [("director", "Alfred Hitchcock")]),
    film(
        "Play Misty for Me", 1971, "thriller", [("director", "Clint Eastwood"), ("actor", "Clint Eastwood")]
    ),
    film("Rope", 1948, "thriller", [("director", "Alfred Hitchcock")]),
    film("Dirty Harry", 1971, "crime", [("director", "Don Siegel"), ("actor", "Clint Eastwood")]),
    film("Not Another Teen Movie", 2001, "comedy"),
    film("No Country for Old Men", 2007, "crime thriller"),
    film("Like Water for Chocolate", 1992, "romance drama", languages=("es",)),
    film("Scary Movie", 2000, "comedy", popularity_score=0.9),
    film("The Fifties", 1997, "documentary"),
    film("Western", 2017, "drama"),
    film("Rio Bravo", 1959, "western", on=("netflix",)),
    film("Carry On Cowboy", 1965, "western comedy", on=("prime_video",)),
    film("Horror Express", 1972, "horror science_fiction"),
    film("Amélie", 2001, "romance comedy", languages=("fr",), on=("netflix",)),
    film("Taxi", 1998, "action comedy", languages=("fr",)),
    film("Zombie Picnic", 1983, "horror comedy", keywords=("zombies", "oscar winner")),
    film("Picnic", 1984, "horror comedy", average_rating=8.1),
    film("Toy Town", 1999, "animation family"),
    film("The Wire Tap", 2002, "crime drama", kind="series"),
)


@pytest.fixture(scope="module")
def index():
    index = TextIndex()
    index.apply(FILMS)
    index.commit()
    yield index
    index.close()


def read(index: TextIndex, text: str) -> Understanding:
    return Reader(CatalogueWords(index)).read(text)


def conditions(index: TextIndex, text: str) -> SearchFilter:
    understood = read(index, text)
    return understood.words.kind or understood.where


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("horror from the 80s", (1980, 1989)),
        ("horror of the nineteen eighties", (1980, 1989)),
        ("horror films from the sixties", (1960, 1969)),
        ("early 80s horror", (1980, 1983)),
        ("late seventies horror", (1977, 1979)),
        ("horror before 1970", (None, 1969)),
        ("horror until 1970", (None, 1970)),
        ("horror before the 80s", (None, 1979)),
        ("horror after 1970", (1971, None)),
        ("horror since 1970", (1970, None)),
        ("horror since the 80s", (1980, None)),
        ("horror after the 80s", (1990, None)),
        ("horror between 1970 and 1985", (1970, 1985)),
        ("horror from 1970 to 1985", (1970, 1985)),
        ("horror 1970-1985", (1970, 1985)),
        ("horror from the 60s to the 80s", (1960, 1989)),
        ("horror from the 60s and 80s", (1960, 1989)),
        ("horror 1984", (1984, 1984)),
        ("80s horror from 1984", (1984, 1984)),
    ],
)
def test_times_are_understood(index, text, years):
    asked = conditions(index, text)
    assert (asked.year_from, asked.year_to) == years
    assert asked.genres_all == (("horror",),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80s horror", ["Zombie Picnic", "Picnic"]),
        ("horror comedies", ["Zombie Picnic", "Picnic"]),
        ("westerns or animated films", ["Rio Bravo", "Carry On Cowboy", "Toy Town"]),
        ("directed by hitchcock", ["Psycho", "The Birds", "Rope"]),
        ("films directed by clint eastwood", ["Play Misty for Me"]),
        ("clint eastwood crime films", ["Dirty Harry"]),
        ("clint eastwood as director", ["Play Misty for Me"]),
        ("hitchcock horror", ["Psycho", "The Birds"]),
        ("hitchcock horror from the 60s without thrillers", ["The Birds"]),
        ("science fiction but not horror", ["Aliens", "Predator"]),
        ("horror without zombies from the 80s", ["Picnic"]),
        ("sci-fi not directed by james cameron or john mctiernan", ["Alien", "Horror Express"]),
        ("french comedies", ["Amélie", "Taxi"]),
        ("comedies in french on netflix", ["Amélie"]),
        ("netflix westerns", ["Rio Bravo"]),
        ("westerns on amazon prime", ["Carry On Cowboy"]),
        ("something romantic in french", ["Amélie"]),
        ("cartoons for kids", ["Toy Town"]),
        ("highly rated horror", ["Picnic"]),
        ("oscar winning comedies", ["Zombie Picnic"]),
        ("tv series", ["The Wire Tap"]),
        ("romcoms", ["Amélie"]),
    ],
)
def test_a_query_of_conditions_alone_is_answered_by_what_fulfils_them(index, text, found):
    assert sorted(titles(index, text)) == sorted(found)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("not another teen movie", "Not Another Teen Movie"),
        ("no country for old men", "No Country for Old Men"),
        ("like water for chocolate", "Like Water for Chocolate"),
        ("scary movie", "Scary Movie"),
        ("the fifties", "The Fifties"),
        ("western", "Western"),
        ("hitchcock", "Hitchcock"),
        ("heat 1995", "Heat"),
        ("no cuntry for old men", "No Country for Old Men"),
        ("not anoter teen movie", "Not Another Teen Movie"),
    ],
)
def test_a_title_is_a_title_whatever_its_words_mean(index, text, first):
    assert titles(index, text)[0] == first


def test_a_genre_that_is_a_title_too_finds_both_the_title_first(index):
    first, *rest = titles(index, "western")
    assert first == "Western"
    assert sorted(rest) == ["Carry On Cowboy", "Rio Bravo"]


@pytest.mark.parametrize(
    "text",
    [
        "a man who looks like a dog meets a woman in her twenties",
        "a life without romance and without hope",
        "two friends not speaking about the war",
        "a killer who is not horror struck",
    ],
)
def test_a_description_keeps_its_words(index, text):
    understood = read(index, text)
    assert understood.where == SearchFilter()
    assert understood.words.kind is None
    assert understood.words.text == text


def test_conditions_inside_a_description_hold_and_leave_the_words(index):
    understood = read(index, "a picnic that goes wrong from the 80s but not comedy on netflix")
    assert (understood.where.year_from, understood.where.year_to) == (1980, 1989)
    assert understood.where.genres_none == ("comedy",)
    assert understood.where.platforms_any == ("netflix",)
    assert understood.words.key == "a picnic that goes wrong"


def test_soft_hints_of_a_description_are_told_and_filter_nothing(index):
    understood = read(index, "al pacino robs a bank in a crime drama")
    assert understood.where == SearchFilter()
    assert [person.name for person in understood.noticed.people] == ["al pacino"]
    assert understood.noticed.genres == (("crime",), ("drama",))


@pytest.mark.parametrize("text", ["comedies not in french", "comedies not on netflix"])
def test_what_is_refused_in_a_way_not_understood_is_not_asked_for(index, text):
    understood = read(index, text)
    asked = understood.words.kind or understood.where
    assert not asked.languages_any
    assert not asked.platforms_any


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("movies like alien", [("Alien", 1979)]),
        ("something like Alien 2004", [("Alien", 2004)]),
        ("similar to heat and predator", [("Heat", 1995), ("Predator", 1987)]),
        ("horror like psyco", [("Psycho", 1960)]),
        ("in the style of the birds", [("The Birds", 1963)]),
        ("like nothing anybody knows", []),
    ],
)
def test_references_are_found_in_the_catalogue(index, text, references):
    found = read(index, text).asked.references
    assert [(one.title, one.release_year) for one in found] == references


def test_what_is_like_a_content_fulfils_the_rest_and_leaves_out_the_content(index):
    assert {"Alien", "Aliens"} == set(titles(index, "like Alien but not horror")[:2])
    assert "Horror Express" not in titles(index, "like Alien but not horror")
    assert "Alien" not in titles(index, "movies like alien from the 70s")
    (first, *_) = search(index, "films like Aliens from the 80s")
    assert first.content.title == "Predator"
    assert first.reasons[0].startswith("like Aliens: ")


def test_conditions_that_nothing_fulfils_are_let_go(index):
    assert titles(index, "picnic westerns in french") != []
    assert "Rio Bravo" in titles(index, "french westerns of the fifties")


def test_a_filter_holds_against_the_query(index):
    nineties = SearchFilter(year_from=1990, year_to=1999)
    assert titles(index, "80s comedies", nineties) == ["Taxi"]


@pytest.mark.parametrize(
    ("text", "title", "reasons"),
    [
        ("horror of the eighties", "Picnic", ("genre: horror", "year: 1984")),
        ("directed by hitchcock", "Psycho", ("director: Alfred Hitchcock",)),
        ("comedies in french on netflix", "Amélie", ("genre: comedy", "language: fr", "on netflix")),
        ("oscar winning comedies", "Zombie Picnic", ("genre: comedy", "keyword: oscar winner")),
    ],
)
def test_reasons_name_what_was_asked(index, text, title, reasons):
    found = next(one for one in search(index, text) if one.content.title == title)
    assert found.reasons == reasons


def test_nothing_asked_gives_no_reason():
    assert fact_reasons(Facts(), ALIEN) == []


def test_moods_are_one_name_each(index):
    for mood in MOODS:
        assert read(index, f"{mood} films").asked.moods == (mood,)


WORDS = st.sampled_from(
    [
        "not",
        "like",
        "before",
        "1985",
        "80s",
        "the",
        "horror",
        "alien",
        "hitchcock",
        "on",
        "netflix",
        "in",
        "french",
        "without",
        "and",
        "or",
        "between",
        "to",
        "similar",
        "early",
        "directed",
        "by",
        "$",
        "free",
        "for",
        "kids",
        "heat",
        "2004",
        "but",
        "no",
        "a",
    ]
)


@given(st.lists(WORDS, min_size=1, max_size=12).map(" ".join))
def test_any_words_are_read_and_searched(index, text):
    understood = read(index, text)
    where = understood.words.kind or understood.where
    first, last = where.year_from, where.year_to
    assert first is None or last is None or first <= last
    assert [one.relevance for one in search(index, text)] == sorted(
        (one.relevance for one in search(index, text)), reverse=True
    )
