"""Laws of the suggestions that hold for any catalogue and any history of it."""

from collections.abc import Sequence
from unittest.mock import patch
from uuid import UUID

from hypothesis import assume, given, settings, strategies as st

from media_gateway.discovery.documents import IndexedContent, Person
from media_gateway.discovery.suggestions import Spelling, Suggestion, Suggestions, index as parts
from media_gateway.discovery.text_index import analyse
from media_gateway.discovery.text_index.analysis import fold, loose, without_article

WORDS = st.sampled_from(
    [
        "the",
        "a",
        "dark",
        "knight",
        "knights",
        "kni",
        "war",
        "wars",
        "star",
        "man",
        "spider",
        "spiderman",
        "amélie",
        "ödipus",
        "o'hara",
        "2001",
        "iii",
        "Ⅳ",
        "東京",
        "зеркало",
        "x",
        "supercalifragilisticexpialidocious",
        "incredibly",
        "longer",
    ]
)
TITLES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join) | st.text(min_size=1, max_size=40)
NAMES = st.lists(
    st.sampled_from(["anna", "Anna", "de", "la", "Niro", "niro", "jr", "o'hara", "x"]), min_size=1, max_size=4
)
GENRES = st.sampled_from(["crime", "science_fiction", "western"])


@st.composite
def contents(draw: st.DrawFn) -> IndexedContent:
    return IndexedContent(
        content_id=UUID(int=draw(st.integers(1, 8))),
        revision=1,
        content_type="movie",
        title=draw(TITLES),
        alternate_titles=tuple(draw(st.lists(TITLES, max_size=2))),
        release_year=draw(st.none() | st.integers(1990, 1992)),
        genres=tuple(draw(st.lists(GENRES, max_size=2))),
        people=tuple(Person("actor", " ".join(name)) for name in draw(st.lists(NAMES, max_size=3))),
        popularity_score=draw(st.none() | st.sampled_from([0.1, 0.3, 0.7])),
    )


HISTORIES = st.lists(
    st.tuples(
        st.lists(contents(), max_size=3),
        st.lists(st.integers(1, 8).map(lambda number: UUID(int=number)), max_size=2),
        st.booleans(),
    ),
    max_size=12,
)


def filled(films: Sequence[IndexedContent]) -> Suggestions:
    suggestions = Suggestions()
    suggestions.apply(films)
    suggestions.commit()
    return suggestions


def answers(suggestions: Suggestions, films: Sequence[IndexedContent]) -> list[list[Suggestion]]:
    """What is suggested for beginnings of everything there is."""
    asked = {"a", "s", "an", "dark", "spdierman", "cri", "kinght war"}
    for film in films:
        for text in (*film.titles, *(person.name for person in film.people)):
            asked |= {text[:3], text[-4:], text}
    return [suggestions.suggest(text, 20) for text in sorted(asked)]


@settings(max_examples=40)
@given(HISTORIES)
def test_a_history_of_changes_leaves_what_its_end_would_have_made(history):
    """Whatever is merged and reused on the way; small parts, so that there is much of it."""
    suggestions, now = Suggestions(), dict[UUID, IndexedContent]()
    with patch.multiple(parts, SMALL_PART=4, PART_RATIO=2):
        for put, removed, commit in history:
            suggestions.apply(put, removed)
            now.update({film.content_id: film for film in put})
            for content_id in removed:
                now.pop(content_id, None)
            if commit:
                suggestions.commit()
        suggestions.commit()
    ever = [film for put, _, _ in history for film in put]
    assert answers(suggestions, ever) == answers(filled(list(now.values())), ever)


@settings(max_examples=40)
@given(st.lists(contents(), min_size=1, max_size=6, unique_by=lambda film: film.content_id))
def test_every_title_is_suggested_by_each_of_its_beginnings(films):
    # A content has few titles, so all that can match fit into the longest answer.
    suggestions = filled(films)
    for film in films:
        for title in film.titles:
            key = fold(title)
            for length in range(1, len(key) + 1):
                found = suggestions.suggest(key[:length], 20)
                looks = {(fold(suggestion.text), suggestion.release_year) for suggestion in found}
                assert any(suggestion.content_id == film.content_id for suggestion in found) or any(
                    (fold(text), film.release_year) in looks
                    for text in (title, film.title, f"{title} ({film.title})")
                ), (title, key[:length])


@settings(max_examples=40)
@given(st.lists(contents(), max_size=8), TITLES | st.text(max_size=120), st.integers(1, 20))
def test_any_text_is_answered_within_its_limit_and_without_repetition(films, typed, limit):
    suggestions = filled(films)
    found = suggestions.suggest(typed, limit)
    assert len(found) <= limit
    assert len({(s.kind, fold(s.text), s.release_year) for s in found}) == len(found)
    owned = [s.content_id for s in found if s.content_id]
    assert len(set(owned)) == len(owned)
    assert found == suggestions.suggest(typed, 20)[: len(found)]
    Spelling(suggestions, lambda _word: 0).did_you_mean(analyse(typed))


LATIN = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


@st.composite
def edits(draw: st.DrawFn, text: str) -> str:
    """The text with one error."""
    at = draw(st.integers(0, len(text) - 1))
    letter = draw(st.sampled_from("aeiostz"))
    return draw(
        st.sampled_from(
            [
                text[:at] + text[at + 1 :],
                text[:at] + letter + text[at:],
                text[:at] + letter + text[at + 1 :],
                text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
            ]
        )
    )


@settings(max_examples=100)
@given(st.data(), st.lists(LATIN, min_size=1, max_size=5).map(" ".join))
def test_one_error_in_a_title_of_five_letters_never_hides_it(data, title):
    typed = data.draw(edits(title)).strip()
    # An article that comes or goes with the error is two errors.
    assume(without_article(title) == title and without_article(typed) == typed)
    assume(len(title.replace(" ", "")) >= 5 and len(typed.replace(" ", "")) >= 4)
    film = IndexedContent(content_id=UUID(int=1), revision=1, content_type="movie", title=title)
    assert [suggestion.text for suggestion in filled([film]).suggest(typed, 5)] == [title]


@settings(max_examples=40)
@given(st.lists(contents(), min_size=1, max_size=8))
def test_a_title_is_never_corrected(films):
    suggestions = filled(films)
    spelling = Spelling(suggestions, lambda _word: 0)
    now = {film.content_id: film for film in films}
    for film in now.values():
        for title in film.titles:
            for typed in (title, loose(fold(title)), without_article(fold(title))):
                assert spelling.did_you_mean(analyse(typed)) is None, typed
