"""Sorted beginnings and the words near a mistyped one, against the slow and plain way."""

import numpy as np
from hypothesis import given, settings, strategies as st
from rapidfuzz.distance import OSA

from media_gateway.discovery.suggestions.beginnings import KEYS, WIDTH, Beginnings, NewBeginnings, Place
from media_gateway.discovery.suggestions.typos import HEAD, LONGEST, near_beginnings, near_words

WORDS = st.text("abk é京", min_size=1, max_size=12) | st.sampled_from(["knight", "kni", "dark", "a" * 20])
TITLES = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: " ".join(" ".join(words).split()) or "x")


def sorted_of(titles: list[str]) -> Beginnings:
    new = NewBeginnings()
    for entry, title in enumerate(titles):
        new.add_title(title, entry)
    return Beginnings.of(new)


def plainly(titles: list[str]) -> list[tuple[bytes, int, int]]:
    rows = []
    for entry, title in enumerate(titles):
        words = title.split()
        bare = words[1:] if len(words) > 1 and words[0] == "a" else words
        rows.append((title, entry, Place.WHOLE))
        if bare != words:
            rows.append((" ".join(bare), entry, Place.BARE))
        if len(bare) > 1:
            rows.append(("".join(bare), entry, Place.JOINED))
        rows += [(" ".join(bare[at:]), entry, Place.INNER) for at in range(1, len(bare))]
    return sorted((text.encode()[:WIDTH], entry, int(place)) for text, entry, place in rows)


def rows_of(beginnings: Beginnings) -> list[tuple[bytes, int, int]]:
    columns = (beginnings.keys.tolist(), beginnings.entries.tolist(), beginnings.places.tolist())
    return sorted(zip(*columns, strict=True))


@given(st.lists(TITLES, max_size=8), st.lists(TITLES, max_size=4))
def test_beginnings_are_those_of_all_words_whether_sorted_at_once_or_merged(titles, more):
    everything = [*titles, *more]
    part, rest = sorted_of(titles), sorted_of(everything)
    assert rows_of(rest) == plainly(everything)
    assert rest.keys.tolist() == sorted(rest.keys.tolist())
    keep = np.array([entry % 3 != 0 for entry in range(len(everything))], dtype=np.bool_)
    merged = Beginnings.merged([part, rest], keep)
    assert rows_of(merged) == sorted(row for row in (*plainly(titles), *plainly(everything)) if keep[row[1]])


@given(st.lists(TITLES, min_size=1, max_size=8))
def test_each_word_knows_the_beginnings_that_start_with_it(titles):
    beginnings = sorted_of(titles)
    keys = beginnings.keys.tolist()
    words = sorted({key.split(b" ")[0] for key in keys})
    assert beginnings.tokens.tolist() == words
    for number, word in enumerate(words):
        positions, counts = beginnings.of_words(np.array([number]))
        expected = [at for at, key in enumerate(keys) if key.split(b" ")[0] == word]
        assert (positions.tolist(), counts.tolist()) == (expected, [len(expected)])
        alone, _ = beginnings.of_words(np.array([number]), alone=True)
        assert alone.tolist() == [at for at in expected if keys[at] == word]
        if len(word) < WIDTH:
            assert list(range(*beginnings.with_word(word).indices(len(keys)))) == expected


@given(st.lists(TITLES, max_size=8), TITLES)
def test_a_look_up_finds_what_starts_with_a_text_and_what_is_it(titles, text):
    beginnings = sorted_of(titles)
    keys = beginnings.keys.tolist()
    for length in range(1, len(text) + 1):
        prefix = text[:length].encode()
        where = beginnings.starting_with(prefix)
        expected = [at for at, key in enumerate(keys) if key.startswith(prefix[:WIDTH])]
        assert list(range(*where.indices(len(keys)))) == expected
        if len(prefix) < WIDTH:
            same = beginnings.equal_to(prefix)
            assert list(range(*same.indices(len(keys)))) == [
                at for at, key in enumerate(keys) if key == prefix
            ]


LETTERS = st.text("abknight1", min_size=HEAD, max_size=18)


def prefix_distance(typed: str, word: str) -> int:
    return min(OSA.distance(typed, word[:length]) for length in range(len(word) + 1))


@settings(max_examples=200)
@given(st.lists(LETTERS, min_size=1, max_size=30), LETTERS, st.sampled_from([1, 2]))
def test_near_words_are_all_that_are_near_and_no_others(words, typed, typos):
    typed = typed[:LONGEST]
    tokens = np.array(sorted({word[:WIDTH] for word in words}), dtype=KEYS)
    for find, distance in ((near_beginnings, prefix_distance), (near_words, OSA.distance)):
        numbers, errors = find(tokens, typed.encode(), typos)
        found = dict(
            zip([token.decode() for token in tokens[numbers].tolist()], errors.tolist(), strict=True)
        )
        plain = {word: distance(typed, word) for word in (token.decode() for token in tokens.tolist())}
        assert found == {word: plain[word] for word in found}
        assert all(plain[word] <= typos for word in found)
        missed = {word for word, wrong in plain.items() if wrong <= typos and word not in found}
        # Only those with two errors among the first letters.
        assert all(plain[word] == 2 and prefix_distance(typed[:HEAD], word) == 2 for word in missed)


def test_an_empty_catalogue_has_no_words_near():
    numbers, errors = near_beginnings(np.zeros(0, dtype=KEYS), b"abcd", 1)
    assert (numbers.tolist(), errors.tolist()) == ([], [])
