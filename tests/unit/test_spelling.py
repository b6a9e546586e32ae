"""When another query is offered, and which, over a handful of made-up records of known films."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.suggestions import Spelling, Suggestions
from media_gateway.discovery.text_index import TextIndex, analyse


def film(title, year=2000, people=(), overview=None, pop=0.5, genres=()) -> IndexedContent:
    return IndexedContent(
        content_id=uuid4(),
        revision=1,
        content_type="movie",
        title=title,
        release_year=year,
        people=tuple(Person("actor", name) for name in people),
        overview=overview,
        popularity_score=pop,
        genres=genres,
    )


FILMS = (
    film("The Godfather", 1972, ("Al Pacino", "James Caan"), genres=("crime",)),
    film("The Dark Knight", 2008, ("Christian Bale", "Michael Caine"), pop=0.9),
    film("Dark Night", 2016, overview="Aliens meet a submarine crew one night."),
    film("Pulp Fiction", 1994, ("John Travolta", "Quentin Tarantino"), pop=0.9),
    film("Django Unchained", 2012, ("Quentin Tarantino",), pop=0.9),
    film("Paid", 2006, ("Carlo Taranto", "Jhon Doe"), pop=0.1),
    film("Blade Runner", 1982, ("Harrison Ford",)),
    film("John Wick", 2014, pop=0.9),
    film("Star Wars: Episode IV – A New Hope", 1977),
    film("Spider-Man", 2002),
    film("Forrest Gump", 1994, ("Tom Hanks",)),
    film("Forest of Bliss", 1986, overview="A forest, and nothing but the forest, near the Ganges."),
    film("Heat", 1995, ("Al Pacino",)),
    film("Scary Movie", 2000, overview="Movies that scare, and a scary house."),
    film("Amélie", 2001, ("Audrey Tautou",)),
    *(film(f"Some John {number}", people=(f"John Number{number}",), pop=0.2) for number in range(30)),
    *(film(f"Fiction {number}", genres=("science_fiction",)) for number in range(12)),
    film("Friction", 1990),
    film("Aliens", 1986),
)


@pytest.fixture(scope="module")
def spelling() -> Iterator[Spelling]:
    suggestions, index = Suggestions(), TextIndex()
    for kept in (suggestions, index):
        kept.apply(FILMS)
        kept.commit()
    yield Spelling(suggestions, index.frequency)
    index.close()


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("godfathr", "The Godfather"),
        ("teh dark knight", "The Dark Knight"),
        ("the drak knight", "The Dark Knight"),
        ("drakknight", "The Dark Knight"),
        ("Blad Runer", "Blade Runner"),
        ("Al Pacnio", "Al Pacino"),
        ("tom henks", "Tom Hanks"),
        ("forest gump", "Forrest Gump"),
        ("amelei", "Amélie"),
        ("crme", "Crime"),
        # Known words, far rarer than what stands beside the other one.
        ("jhon wick", "John Wick"),
        ("jhon travolta", "John Travolta"),
        ("pulp friction", "Pulp Fiction"),
        # Words in place of those that nobody has; the rest stays as it was typed.
        ("godfathr 1972", "godfather 1972"),
        # What people ask with, whether any title has it or not.
        ("horor moives from the 80s", "horror movies from the 80s"),
        ("westens with tom henks", "westerns with tom hanks"),
        ("Tarantno CRIME", "tarantino CRIME"),
        ("Amélie with audrey tautuo", "Amélie with audrey tautou"),
        ("submarin crew meets the alienns", "submarin crew meets the aliens"),
    ],
)
def test_what_is_meant_is_offered(spelling, query, meant):
    assert spelling.did_you_mean(analyse(query)) == meant


@pytest.mark.parametrize(
    "query",
    [
        *(content.title for content in FILMS[:16]),
        "the god father",
        "starwars",
        "spiderman",
        "heat 1995",
        "dark nights",
        "scary movies",
        "crime with al pacino",
        "submarines",
        "aliens meet a crew",
        "jhon",
        "xqzzkw",
        "1983",
        "teh",
        "hte bst",
        "",
        "$!",
        "wrods tht noone evre wrot befroe",
        "drakknight " * 20,
    ],
)
def test_what_is_right_or_past_guessing_is_left_alone(spelling, query):
    assert spelling.did_you_mean(analyse(query)) is None


def test_nothing_is_offered_that_is_gone():
    suggestions = Suggestions()
    suggestions.apply(FILMS)
    suggestions.commit()
    spelling = Spelling(suggestions, lambda _word: 0)
    assert spelling.did_you_mean(analyse("blad runer")) == "Blade Runner"
    suggestions.apply([], [content.content_id for content in FILMS if content.title == "Blade Runner"])
    suggestions.commit()
    assert spelling.did_you_mean(analyse("blad runer")) is None
