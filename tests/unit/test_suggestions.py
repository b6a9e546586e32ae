"""What is suggested for what is typed, over a handful of made-up records of known films."""

import threading
from dataclasses import replace
from uuid import uuid4

import pytest

from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.suggestions import Kind, MatchedBy, Suggestions, index as parts


def film(title, year=2000, pop=0.5, people=(), **facts) -> IndexedContent:
    return IndexedContent(
        content_id=facts.pop("id", None) or uuid4(),
        revision=1,
        content_type="movie",
        title=title,
        release_year=year,
        popularity_score=pop,
        people=tuple(Person("actor", name) for name in people),
        **facts,
    )


PACINO, DE_NIRO = "Al Pacino", "Robert De Niro"
FILMS = (
    film("The Dark Knight", 2008, 0.9, genres=("crime",)),
    film("The Dark Knight Rises", 2012, 0.8),
    film("A Knight's Tale", 2001, 0.5),
    film("Batman: The Dark Knight Returns, Part 1", 2012, 0.3),
    film("Dark City", 1998, 0.4),
    film("Heat", 1995, 0.8, people=(PACINO, DE_NIRO), genres=("crime",)),
    film("Heat", 1986, 0.1),
    film("The Heat", 2013, 0.85),
    film("Heathers", 1988, 0.95),
    film("The Godfather", 1972, 0.9, people=(PACINO, "James Caan")),
    film("The Godfather Part II", 1974, 0.8, people=(PACINO, DE_NIRO)),
    film("The Lord of the Rings: The Return of the King", 2003, 0.99),
    film("Spider-Man", 2002, 0.9),
    film("Spiderman of the Desert", 1960, 0.1),
    film("Star Trek", 2009, 0.9),
    film("Starter for 10", 2006, 0.2),
    film("Amélie", 2001, 0.7, original_title="Le Fabuleux Destin d'Amélie Poulain"),
    film("Alien", 1979, 0.9, alternate_titles=("A nyolcadik utas: a Halál", "ALIEN", "Alien 1")),
    film("Blade Runner", 1982, 0.8, genres=("science_fiction",)),
    film("Зеркало", 1975, 0.4),
    film("$", 1971, 0.2),
)


@pytest.fixture(scope="module")
def suggestions():
    return filled(*FILMS)


def filled(*films: IndexedContent) -> Suggestions:
    suggestions = Suggestions()
    suggestions.apply(films)
    suggestions.commit()
    return suggestions


def texts(suggestions, typed, limit=10) -> list[str]:
    return [suggestion.text for suggestion in suggestions.suggest(typed, limit)]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("dark kni", ["The Dark Knight", "The Dark Knight Rises"]),
        ("the dark kni", ["The Dark Knight", "The Dark Knight Rises"]),
        ("knight", ["A Knight's Tale", "The Dark Knight", "The Dark Knight Rises"]),
        ("lord ring", ["The Lord of the Rings: The Return of the King"]),
        ("rin lor", ["The Lord of the Rings: The Return of the King"]),
        ("ret king", ["The Lord of the Rings: The Return of the King"]),
        ("spiderm", ["Spiderman of the Desert", "Spider-Man"]),
        ("spiderman", ["Spider-Man", "Spiderman of the Desert"]),
        ("spider man", ["Spider-Man", "Spiderman of the Desert"]),
        ("SPIDER-MAN!", ["Spider-Man", "Spiderman of the Desert"]),
        ("star t", ["Star Trek", "Starter for 10"]),
        ("start", ["Starter for 10", "Star Trek"]),
        ("amelie", ["Amélie"]),
        ("AMÉLIE", ["Amélie"]),
        ("зерк", ["Зеркало"]),
        ("$", ["$"]),
    ],
)
def test_what_starts_with_the_typed_text_comes_before_what_has_it_later(suggestions, typed, first):
    assert texts(suggestions, typed)[: len(first)] == first


def test_a_whole_title_comes_first_then_it_is_popularity(suggestions):
    found = [(s.text, s.release_year) for s in suggestions.suggest("heat", 10)]
    assert found == [("Heat", 1995), ("Heat", 1986), ("The Heat", 2013), ("Heathers", 1988)]
    assert texts(suggestions, "hea")[:2] == ["Heathers", "The Heat"]


def test_people_are_found_by_any_part_of_their_name(suggestions):
    for typed in ("al p", "pacino", "pac", "paci al", "alpacino"):
        assert PACINO in texts(suggestions, typed), typed
    for typed in ("de ni", "niro", "deniro", "robert de", "rob niro"):
        assert DE_NIRO in texts(suggestions, typed), typed


def test_a_person_weighs_as_much_as_all_their_films():
    star, extra = "Anna Star", "Anna Extra"
    films = [film(f"Film {number}", pop=0.4, people=(star,)) for number in range(5)]
    suggestions = filled(*films, film("Hit", pop=1.0, people=(extra,)))
    assert texts(suggestions, "anna") == [star, extra]


def test_unknown_people_come_by_the_number_of_their_films():
    films = [film(f"Film {number}", pop=None, people=("Anna Often",)) for number in range(3)]
    suggestions = filled(film("One", pop=None, people=("Anna Once",)), *films)
    assert texts(suggestions, "anna") == ["Anna Often", "Anna Once"]


def test_genres_are_suggested_by_all_their_names_while_a_content_has_them(suggestions):
    for typed in ("sci", "science f", "scifi", "sci fi", "sf", "fiction"):
        assert texts(suggestions, typed)[0] == "Science fiction", typed
    assert "Western" not in texts(suggestions, "west")
    (genre,) = (s for s in suggestions.suggest("crim", 10) if s.kind is Kind.GENRE)
    assert (genre.text, genre.content_id, genre.release_year) == ("Crime", None, None)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("drak kni", "The Dark Knight"),
        ("teh dark", "The Dark Knight"),
        ("godfathr", "The Godfather"),
        ("godfahter part", "The Godfather Part II"),
        ("blad runer", "Blade Runner"),
        ("lord rngs", "The Lord of the Rings: The Return of the King"),
        ("the lord of teh rings the return", "The Lord of the Rings: The Return of the King"),
        ("pacnio", PACINO),
        ("la pacino", PACINO),
        ("robet den", DE_NIRO),
        ("gpdfathre", "The Godfather"),
        ("sciense fic", "Science fiction"),
    ],
)
def test_typing_errors_are_forgiven(suggestions, typed, first):
    found = suggestions.suggest(typed, 10)
    assert (found[0].text, found[0].matched_by) == (first, MatchedBy.TYPO)


@pytest.mark.parametrize("typed", ["hxt", "heeeet", "gdftr", "xyzzy", "darkk nnight citty"])
def test_too_many_errors_for_so_few_letters_find_nothing(suggestions, typed):
    assert texts(suggestions, typed) == []


def test_nothing_is_taken_for_mistyped_that_something_starts_with():
    suggestions = filled(film("Jonh Doe"), film("John Wick", pop=1.0))
    assert texts(suggestions, "jonh") == ["Jonh Doe"]


def test_the_nearest_hide_what_is_further_away():
    suggestions = filled(film("Strangelove"), film("Strange Glove", pop=1.0))
    assert texts(suggestions, "strangelobe") == ["Strangelove"]


@pytest.mark.parametrize(
    ("typed", "matched_by"),
    [
        ("dark", "prefix"),
        ("spiderman", "prefix"),
        ("rises", "word"),
        ("lord king", "word"),
        ("drk kni", "typo"),
    ],
)
def test_an_answer_says_how_it_was_found(suggestions, typed, matched_by):
    assert suggestions.suggest(typed, 1)[0].matched_by == matched_by


def test_another_title_of_a_content_is_shown_with_the_main_one_and_a_content_once(suggestions):
    (found,) = suggestions.suggest("nyolcadik", 10)
    assert found.text == "A nyolcadik utas: a Halál (Alien)"
    assert found.content_id == next(content.content_id for content in FILMS if content.title == "Alien")
    assert texts(suggestions, "alien") == ["Alien"]
    assert texts(suggestions, "fabuleux destin") == ["Le Fabuleux Destin d'Amélie Poulain (Amélie)"]


def test_films_of_one_name_differ_by_year_and_those_that_do_not_are_given_once():
    suggestions = filled(
        film("Twin", 1990, 0.2), film("Twin", 1990, 0.9), film("Twin", 2010, 0.1), film("TWIN", None)
    )
    found = suggestions.suggest("twin", 10)
    assert [s.release_year for s in found] == [1990, None, 2010]


def test_one_name_spelled_in_two_ways_is_given_once():
    suggestions = filled(
        film("One", people=("Penélope Cruz",)),
        film("Two", people=("Penélope Cruz",)),
        film("Three", people=("Penelope Cruz",)),
    )
    assert texts(suggestions, "penelope") == ["Penélope Cruz"]


def test_a_limit_is_kept_and_equals_have_one_order_however_they_came():
    films = [film(f"Same {number}", pop=0.5) for number in range(50)]
    forwards, backwards = filled(*films), filled(*reversed(films))
    assert len(texts(forwards, "same", 7)) == 7
    assert texts(forwards, "same", 20) == texts(backwards, "same", 20)
    assert texts(forwards, "same", 7) == texts(forwards, "same", 20)[:7]


def test_titles_of_one_long_beginning_are_told_apart_by_what_follows_it():
    crowd = [film(f"The Adventures of Somebody Number {number}", pop=0.9) for number in range(500)]
    suggestions = filled(*crowd, film("The Adventures of Somebody Else", pop=0.1))
    assert texts(suggestions, "the adventures of somebody e") == ["The Adventures of Somebody Else"]
    assert texts(suggestions, "adventures of somebody number 471")[0] == crowd[471].title
    assert texts(suggestions, "adventures somebody 471")[0] == crowd[471].title
    assert texts(suggestions, "adventures of somebdy else")[0] == "The Adventures of Somebody Else"


def test_a_change_is_seen_at_its_commit_and_a_removed_content_never_after():
    hamlet = film("Hamlet", people=("Old Actor",), genres=("western",))
    suggestions = filled(hamlet, film("Macbeth", people=("Other Actor",)))
    suggestions.apply([film("Othello", id=hamlet.content_id, people=("New Actor",))])
    assert texts(suggestions, "hamlet") == ["Hamlet"]
    suggestions.commit()
    assert (
        texts(suggestions, "hamlet") == texts(suggestions, "old act") == texts(suggestions, "western") == []
    )
    assert texts(suggestions, "othello") == ["Othello"]
    assert texts(suggestions, "actor") == ["New Actor", "Other Actor"]
    suggestions.apply([], [hamlet.content_id])
    suggestions.commit()
    assert texts(suggestions, "othello") == []
    assert texts(suggestions, "actor") == ["Other Actor"]


def test_a_content_that_changes_in_popularity_only_adds_no_beginnings():
    hamlet = film("Hamlet", pop=0.2, people=("Old Actor",), genres=("western",))
    suggestions = filled(hamlet, film("Hamlets", pop=0.5))
    before = suggestions.state
    assert texts(suggestions, "haml") == ["Hamlets", "Hamlet"]
    suggestions.apply([replace(hamlet, popularity_score=0.7)])
    suggestions.commit()
    assert texts(suggestions, "haml") == ["Hamlet", "Hamlets"]
    assert len(suggestions.state.weights) == len(before.weights)
    assert [len(part) for part in suggestions.state.parts] == [len(part) for part in before.parts]


def test_a_person_stays_while_one_of_their_films_does():
    first, second = film("One", people=("Some One",)), film("Two", people=("Some One",))
    suggestions = filled(first, second)
    suggestions.apply([], [first.content_id])
    suggestions.commit()
    assert texts(suggestions, "some one") == ["Some One"]
    suggestions.apply([], [second.content_id, uuid4()])
    suggestions.commit()
    assert texts(suggestions, "some one") == []


def test_what_is_removed_leaves_no_memory_behind():
    suggestions = Suggestions()
    for number in range(300):
        content = film(f"Passing {number}", people=(f"Passer {number}",))
        suggestions.apply([content])
        suggestions.commit()
        suggestions.apply([], [content.content_id])
        suggestions.commit()
    assert len(suggestions.state.weights) < 50
    assert sum(len(part) for part in suggestions.state.parts) == 0


def test_a_commit_copies_little_of_a_large_catalogue():
    films = [film(f"Feature {number}", people=(f"Player {number}",)) for number in range(2_000)]
    suggestions = filled(*films)
    (large,) = suggestions.state.parts
    assert len(large) > parts.SMALL_PART
    for number in range(50):
        suggestions.apply([film(f"Late {number}")])
        suggestions.commit()
    first, *recent = suggestions.state.parts
    assert first is large
    assert 1 <= len(recent) <= 2
    assert texts(suggestions, "late 3")[0] == "Late 3"
    assert len(texts(suggestions, "feature 19")) == 10


def test_readers_see_whole_commits_while_others_are_written():
    """Each commit renames every film, so an answer that mixes two commits has two names in it."""
    ids = [uuid4() for _ in range(20)]
    suggestions = filled(*(film("Round 0", year, id=each) for year, each in enumerate(ids, 1900)))
    stop = threading.Event()
    mixed: list[list[str]] = []

    def read() -> None:
        while not stop.is_set():
            found = texts(suggestions, "round", 20)
            if len(found) != 20 or len(set(found)) != 1:
                mixed.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 150):
        suggestions.apply([film(f"Round {number}", year, id=each) for year, each in enumerate(ids, 1900)])
        suggestions.commit()
    stop.set()
    for reader in readers:
        reader.join()
    assert mixed == []
