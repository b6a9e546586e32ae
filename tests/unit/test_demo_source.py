"""The demo films: what is in them, what is composed, and that every one is accepted."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.errors import UnavailableError
from media_gateway.ingestion.mapping import Mapper
from media_gateway.ingestion.sources import RawRecord, Secrets, open_source
from media_gateway.ingestion.sources.demo import MEMBER, WHEEL
from tests.support.ingestion_sources import job, read_all, source_of

DEMO = {"type": "Demo", "demo": {}}


@pytest.fixture(scope="module")
def films() -> list[SourceRecord]:
    mapper = Mapper(job(DEMO).spec)
    items = asyncio.run(read_all(source_of(DEMO)))
    return [mapper.map(item.payload) for item in items if isinstance(item, RawRecord)]


def by_title(films: list[SourceRecord], title: str, year: int) -> SourceRecord:
    (found,) = (film for film in films if (film.title, film.release_year) == (title, year))
    return found


async def test_all_films_are_accepted_and_told(films: list[SourceRecord]) -> None:
    assert len(films) == 17_472 == await source_of(DEMO).estimate()
    assert len({film.source_id for film in films}) == 17_472
    assert all(film.overview and 40 < len(film.overview) < 2000 for film in films)
    assert all(film.release_year is not None and 1940 <= film.release_year <= 2014 for film in films)
    assert sum(film.genres is not None for film in films) > 17_000
    assert sum(film.average_rating is not None for film in films) > 17_000


def test_repeated_imdb_ids_and_namesakes_are_given_as_they_are(films: list[SourceRecord]) -> None:
    ids = Counter(film.external_ids.imdb for film in films)
    assert sorted(ids.values())[-3:] == [1, 2, 2]
    same = Counter((film.title, film.release_year) for film in films)
    assert sum(count > 1 for count in same.values()) >= 5


def test_facts_of_a_known_film(films: list[SourceRecord]) -> None:
    film = by_title(films, "The Intouchables", 2011)
    assert film.external_ids.imdb == "tt1675434"
    assert film.genres is not None
    assert [genre.value for genre in film.genres] == ["biography", "comedy", "drama"]
    assert (film.original_language, film.production_countries, film.runtime_minutes) == ("fr", ("FR",), 112)
    assert film.release_date is None  # 1 January stands for "some day of that year"
    assert film.credits is not None
    assert [c.name for c in film.credits if c.role == "director"] == ["Olivier Nakache", "Éric Toledano"]
    assert film.overview is not None
    for words in ("French", "comedy-drama", "2011", "Olivier Nakache", "François Cluzet", "$427 million"):
        assert words in film.overview


def test_the_best_known_films_are_the_most_popular(films: list[SourceRecord]) -> None:
    popular = sorted(films, key=lambda film: -(film.popularity_score or 0))
    assert {"Titanic", "Avatar"} <= {film.title for film in popular[:10]}
    scores = [film.popularity_score or 0 for film in popular]
    assert scores[0] <= 1
    assert scores[-1] >= 0
    assert scores[len(scores) // 100] > 2 * scores[len(scores) // 2]


def test_nobody_is_said_to_lead_since_the_data_do_not_tell(films: list[SourceRecord]) -> None:
    film = by_title(films, "Men in Black", 1997)
    assert film.overview is not None
    assert film.credits is not None
    cast = [credit.name for credit in film.credits if credit.role == "actor"]
    assert cast.index("Tommy Lee Jones") < 5
    for name in cast[:5]:
        assert name in film.overview
    for words in ("It stars", "Its stars", "leading part", "is led by"):
        assert not any(words in (film.overview or "") for film in films)


def test_overviews_vary_and_read_like_sentences(films: list[SourceRecord]) -> None:
    openings = Counter(
        "director"
        if (film.overview or "").startswith(tuple(c.name for c in film.credits or () if c.role == "director"))
        else (film.overview or "").replace(film.title, "T").split(" ")[0]
        for film in films
    )
    assert set(openings) == {"T", "Directed", "In", "A", "An", "director"}
    assert min(openings.values()) > 500
    for film in films:
        overview = film.overview or ""
        assert overview.endswith((".", "!", "?"))
        assert "  " not in overview
        assert "None" not in overview.replace(film.title, "")
        assert " ," not in overview
        assert " a American" not in overview
        assert " an British" not in overview


def test_offerings_are_marked_priced_and_invent_no_address(films: list[SourceRecord]) -> None:
    offerings = [offering for film in films for offering in film.offerings or ()]
    assert len(offerings) > 40_000
    assert all(offering.demo and offering.url is None for offering in offerings)
    for offering in offerings:
        paid = offering.availability_type in {"rental", "purchase"}
        assert (offering.price_cents is not None) == paid == (offering.currency is not None)
    assert {"netflix", "prime_video", "bbc_iplayer", "crave"} <= {offering.platform for offering in offerings}
    assert {offering.region for offering in offerings} >= {"US", "GB", "DE", "FR", "CA"}
    assert {o.region for o in offerings if o.platform == "hulu"} == {"US"}
    nowhere = sum(not film.offerings for film in films) / len(films)
    assert 0.1 < nowhere < 0.3


async def test_the_same_film_is_always_told_and_offered_the_same_way(films: list[SourceRecord]) -> None:
    mapper = Mapper(job(DEMO).spec)
    again = await read_all(source_of({"type": "Demo", "demo": {"limit": 200}}))
    assert [mapper.map(item.payload) for item in again if isinstance(item, RawRecord)] == films[:200]


async def test_a_demo_without_availability_says_that_there_is_none() -> None:
    mapper = Mapper(job(DEMO).spec)
    items = await read_all(source_of({"type": "Demo", "demo": {"limit": 5, "availability": False}}))
    assert [mapper.map(item.payload).offerings for item in items if isinstance(item, RawRecord)] == [()] * 5


async def test_data_that_are_damaged_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / f"{WHEEL.name}-{WHEEL.version}-{Path(MEMBER).name}"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    source = open_source(job(DEMO).spec.source, secrets=Secrets(environ={}), cache_path=tmp_path)
    with pytest.raises(UnavailableError, match=path.name):
        await read_all(source)
