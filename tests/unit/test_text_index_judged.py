"""What people ask and what they should see first, judged by hand, over a handful of made-up records of known films."""

from uuid import uuid4

import pytest

from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.text_index.analysis import (
    decade_of,
    last_names,
    name_keys,
    sequel_keys,
    singular,
)
from tests.support.searching import titles, why


def film(title, year, genres="", **facts) -> IndexedContent:
    director, *cast = facts.pop("people", ("Nobody Known",))
    return IndexedContent(
        content_id=uuid4(),
        revision=1,
        content_type="movie",
        title=title,
        release_year=year,
        genres=tuple(genres.split()),
        popularity_score=facts.pop("pop", 0.5),
        people=(Person("director", director), *(Person("actor", name) for name in cast)),
        **facts,
    )


FILMS = (
    film(
        "The Godfather", 1972, "crime", pop=0.98, people=("Francis Ford Coppola", "James Caan", "Rudy Bond")
    ),
    film("The Godfather Part II", 1974, "crime", people=("Francis Ford Coppola", "Robert De Niro")),
    film("The Godfather Part III", 1990, "crime", people=("Francis Ford Coppola", "Sofia Coppola")),
    film("Disco Godfather", 1979, "action horror"),
    film("3 Godfathers", 1948, "western"),
    film("Rocky", 1976, "sport", pop=0.95, keywords=("boxing", "underdog")),
    film("Rocky III", 1982, "sport", keywords=("boxing match",)),
    film("Rocky IV", 1985, "sport", keywords=("boxing",)),
    film("Rocky V", 1990, "sport"),
    film("Summer Money", 1999, "comedy", pop=1.0, keywords=("box office hit", "beach")),
    film("Back to the Future", 1985, "science_fiction", pop=0.95),
    film("Back to the Future Part II", 1989, "science_fiction"),
    film("Back to the Future Part III", 1990, "science_fiction western"),
    film("Star Wars: Episode IV – A New Hope", 1977, "science_fiction", pop=1.0),
    film("Star Wars: Episode V – The Empire Strikes Back", 1980, "science_fiction", pop=0.8),
    film("Malcolm X", 1992, "biography"),
    film("Malcolm 10", 1999, "comedy"),
    film("Forrest Gump", 1994, "drama", pop=0.9, people=("Robert Zemeckis", "Tom Hanks")),
    film("Tom and Others", 2001, "drama", pop=1.0, people=("Nobody Known", "Tom Sizer", "Colin Hanks")),
    film("Yanks", 1979, "war"),
    film("Pulp Fiction", 1994, "crime", pop=0.9, people=("Quentin Tarantino", "Uma Thurman")),
    film("Django Unchained", 2012, "western", pop=0.95, people=("Quentin Tarantino",)),
    film("Tarnation", 2003, "documentary"),
    film("2001: A Space Odyssey", 1968, "science_fiction", people=("Stanley Kubrick",)),
    film("Barry Lyndon", 1975, "drama", people=("Stanley Kubrick",)),
    film("Eyes Wide Shut", 1999, "drama", people=("Stanley Kubrick",)),
    film("Colour Me Kubrick", 2005, "comedy"),
    film("Iron Suit", 2008, "action", people=("Jon Known", "Robert Downey Jr.")),
    film("The Shining Inn", 1980, "horror thriller"),
    film("Fly by Night", 1986, "horror"),
    film("Horror Train", 1972, "horror", pop=1.0),
    film("1980", 2009, "drama"),
    film("South Pacific", 1958, "musical"),
    film("Dark City", 1998, "science_fiction"),
    film("The Dark Knight", 2008, "action", pop=0.9),
    film("The Dark", 2005, "horror"),
)


@pytest.fixture(scope="module")
def index():
    index = TextIndex()
    index.apply(FILMS)
    index.commit()
    yield index
    index.close()


def reasons(query: str, title: str) -> list[str]:
    content = next(content for content in FILMS if content.title == title)
    return why(query, content)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("godfather 2", ["The Godfather Part II"]),
        ("the godfather part 2", ["The Godfather Part II"]),
        ("godfather part two", ["The Godfather Part II"]),
        ("Godfather III", ["The Godfather Part III"]),
        ("rocky 4", ["Rocky IV"]),
        ("rocky 5", ["Rocky V"]),
        ("rocky 1", ["Rocky"]),
        ("back to the future 3", ["Back to the Future Part III"]),
        ("star wars episode 5", ["Star Wars: Episode V – The Empire Strikes Back"]),
        ("star wars 4", ["Star Wars: Episode IV – A New Hope"]),
        ("malcolm x", ["Malcolm X"]),
        ("malcolm 10", ["Malcolm 10"]),
        ("tom hanks", ["Forrest Gump"]),
        ("hanks", ["Tom and Others", "Forrest Gump"]),
        ("tarantino", ["Django Unchained", "Pulp Fiction"]),
        ("kubrick", ["2001: A Space Odyssey", "Barry Lyndon", "Eyes Wide Shut"]),
        ("de niro", ["The Godfather Part II"]),
        ("francis coppola", ["The Godfather", "The Godfather Part II", "The Godfather Part III"]),
        ("robert downey", ["Iron Suit"]),
        ("80s horror", ["The Shining Inn", "Fly by Night"]),
        ("'80s horror movies", ["The Shining Inn", "Fly by Night"]),
        ("horror 1980", ["The Shining Inn"]),
        ("boxing", ["Rocky", "Rocky IV", "Rocky III"]),
        ("the dark nite", ["The Dark Knight"]),
    ],
)
def test_what_people_ask_for_comes_first(index, query, first):
    assert sorted(titles(index, query)[: len(first)]) == sorted(first)


@pytest.mark.parametrize("query", ["scifi", "sci-fi", "sci fi", "science fiction movies"])
def test_science_fiction_is_a_genre_however_it_is_written(index, query):
    wanted = {content.title for content in FILMS if "science_fiction" in content.genres}
    assert set(titles(index, query)[: len(wanted)]) == wanted


def test_a_name_is_never_put_together_from_two_people(index):
    assert "The Godfather" not in titles(index, "james bond")
    assert "Tom and Others" not in titles(index, "tom hanks drama")[:1]
    assert reasons("james bond", "The Godfather") == []


def test_two_last_names_mean_two_people(index):
    assert titles(index, "coppola niro")[0] == "The Godfather Part II"


def test_a_keyword_is_quoted_as_it_stands():
    assert reasons("boxing", "Rocky III") == ["keyword: boxing match"]
    assert reasons("boxing", "Summer Money") == []
    assert reasons("beaches", "Summer Money") != ["keyword: box office hit"]


def test_a_decade_and_a_number_are_told_as_what_they_found():
    assert reasons("80s horror", "Fly by Night") == ["genre: horror", "year: 1986"]
    assert reasons("rocky 4", "Rocky IV") == ["title matches"]


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("The Godfather Part II", ("godfather2",)),
        ("Kill Bill: Volume 1", ("killbill1",)),
        ("Dune: Part Two", ("dune2",)),
        ("Terminator 2: Judgment Day", ("terminator2",)),
        ("Star Wars: Episode I – The Phantom Menace", ("starwars1",)),
        ("Rocky V", ("rocky5",)),
        ("V for Vendetta", ()),
        ("Malcolm X", ()),
        ("Blade Runner 2049", ()),
        ("12 Monkeys", ()),
    ],
)
def test_a_number_in_a_title_is_known_by_its_place(title, keys):
    assert sequel_keys(title) == keys


def test_decades_plurals_and_names_in_short():
    words = ("80s", "1980s", "00s", "10s", "20s", "2010s", "85s", "1985")
    decades = ["1980s", "1980s", "2000s", "2010s", "1920s", "2010s", None, None]
    assert [decade_of(word) for word in words] == decades
    assert [singular(word) for word in ("robots", "stories", "boss", "boxing", "us")] == [
        "robot",
        "story",
        "boss",
        "boxing",
        "us",
    ]
    assert name_keys("robert downey jr") == ("robertdowneyjr", "robertdowney")
    assert last_names("robert de niro") == ("niro", "deniro")
    assert last_names("madonna") == ()
