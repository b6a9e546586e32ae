"""The judged set over the demo catalogue: what make.py makes, whole and without doubtful answers."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from media_gateway.cli.evaluation.matching import fold
from media_gateway.cli.evaluation.pairs import Pairs, read_pairs
from tests.data.relevance import make
from tests.support.ingestion_sources import DEMO_CACHE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ONE_ANSWER = {"exact", "typo1", "typo2", "description", "plot"}


@pytest.fixture(scope="module")
def catalogue() -> make.Catalogue:
    return asyncio.run(make.read_catalogue(DEMO_CACHE))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return read_pairs(make.TARGET)


def test_the_set_is_what_its_generator_makes(catalogue: make.Catalogue) -> None:
    assert make.TARGET.read_bytes() == make.make(catalogue)


def test_there_are_enough_queries_of_every_class(pairs: Pairs) -> None:
    kinds = Counter(query.kind for query in pairs.queries)
    assert kinds.total() >= 300
    assert set(kinds) == ONE_ANSWER | {"partial", "people", "genre_decade", "like"}
    assert min(kinds.values()) >= 30


def test_the_documentation_counts_the_queries_as_they_are(pairs: Pairs) -> None:
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    kinds = Counter(query.kind for query in pairs.queries)
    assert f"{kinds.total()} queries over the films" in text
    told = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\d+(?:, \d+)*) \|", text, re.MULTILINE)
    rows = {
        kind.strip("`"): int(number)
        for names, numbers in told
        for kind, number in zip(names.split(", "), numbers.split(", "), strict=True)
    }
    assert rows == dict(kinds)


def test_a_query_for_one_film_has_one_answer_that_no_other_film_is_taken_for(
    catalogue: make.Catalogue, pairs: Pairs
) -> None:
    for query in pairs.queries:
        if query.kind in ONE_ANSWER:
            (answer,) = query.relevant
            assert answer.title is not None
            assert answer.year is not None
            catalogue.find(answer.title, answer.year)  # ends the program if there is a doubt


def test_most_queries_for_many_films_have_enough_answers_for_precision_at_ten(pairs: Pairs) -> None:
    many = [query for query in pairs.queries if query.kind in {"people", "genre_decade", "like"}]
    assert sum(len(query.relevant) >= 10 for query in many) >= 0.9 * len(many)


def test_a_film_is_no_answer_to_what_is_like_it(pairs: Pairs) -> None:
    for query in pairs.queries:
        if query.kind == "like":
            assert not any(
                f" {fold(query.text)} ".endswith(f" {fold(answer.title or '')} ") for answer in query.relevant
            )


def test_plot_queries_name_nobody_of_the_film(catalogue: make.Catalogue, pairs: Pairs) -> None:
    for query in pairs.queries:
        if query.kind == "plot":
            (answer,) = query.relevant
            film = catalogue.find(answer.title or "", answer.year or 0)
            assert not any(name in fold(query.text) for name in film.people)
            assert film.key not in fold(query.text).split()
