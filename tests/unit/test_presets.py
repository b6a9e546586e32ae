"""Presets on samples of the documented responses of TMDB, Watchmode, Streaming Availability, and of XMLTV."""

import json
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.domain.content import Genre
from media_gateway.ingestion.formats.xmltv import XmltvReader
from media_gateway.ingestion.mapping import Mapper
from media_gateway.ingestion.presets import vocabulary
from tests.support.ingestion_sources import job

DATA = Path(__file__).parents[1] / "data" / "sources"


def mapped(preset: str, payload: dict[str, Any]) -> dict[str, Any]:
    source = {"type": "File", "file": {"path": "x"}, "name": preset}
    record = Mapper(job(source, mapping={"preset": preset}).spec).map(payload)
    return record.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def sample(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return payload


def offers(record: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(o["platform"], o["region"], o["availability_type"]): o for o in record["offerings"]}


def test_a_tmdb_film_with_details() -> None:
    film = mapped("tmdb", sample("tmdb_movie"))
    assert (film["content_type"], film["title"], film["release_date"]) == (
        "movie",
        "The Matrix",
        "1999-03-31",
    )
    assert (film["release_year"], film["runtime_minutes"], film["maturity_rating"]) == (1999, 136, "R")
    assert film["external_ids"] == {"imdb": "tt0133093", "tmdb": 603, "wikidata": "Q83495"}
    assert film["genres"] == ["action", "science_fiction"]
    assert film["keywords"] == ["saviour", "artificial intelligence"]
    assert film["images"]["poster"] == "https://image.tmdb.org/t/p/w500/poster.jpg"
    assert (film["average_rating"], film["rating_count"]) == (8.2, 26000)
    assert set(offers(film)) == {
        ("hbo_max", "US", "subscription"),
        ("prime_video", "US", "rental"),
        ("prime_video", "US", "purchase"),
        ("netflix", "GB", "subscription"),
    }
    people = [(c["role"], c["name"]) for c in film["credits"]]
    assert people[:4] == [
        ("director", "Lana Wachowski"), ("director", "Lilly Wachowski"), ("writer", "Lana Wachowski"), ("producer", "Joel Silver"),
    ]  # fmt: skip
    assert film["credits"][4]["character"] == "Neo"
    assert film["production_countries"] == ["US", "AU"]


def test_a_tmdb_series_with_seasons() -> None:
    series = mapped("tmdb", sample("tmdb_series"))
    assert (series["content_type"], series["source_id"]) == ("series", "tv/1396")
    assert series["series"] == {"total_seasons": 5, "total_episodes": 62, "status": "ended"}
    assert series["external_ids"]["tvdb"] == 81189
    assert series["genres"] == ["drama", "science_fiction", "fantasy"]
    assert series["keywords"] == ["Soap"]
    assert series["maturity_rating"] == "TV-MA"
    assert series["credits"] == [{"name": "Vince Gilligan", "role": "writer", "external_id": "66633"}]
    # "0.0 of 0 votes" and an empty overview say nothing.
    assert "average_rating" not in series
    assert "overview" not in series
    assert series["popularity_score"] == 1.0


def test_a_tmdb_list_entry_without_details() -> None:
    entry = {"id": 603, "title": "The Matrix", "genre_ids": [28, 878, 10770], "release_date": "", "media_type": "movie",
             "poster_path": None, "popularity": 9.5, "vote_average": 8.2, "vote_count": 10}  # fmt: skip
    film = mapped("tmdb", entry)
    assert film["genres"] == ["action", "science_fiction"]
    assert film["keywords"] == ["TV Movie"]
    assert "release_date" not in film
    assert "offerings" not in film  # a list says nothing of offerings: it must not end any


def test_a_watchmode_film_with_prices_in_several_regions() -> None:
    film = mapped("watchmode", sample("watchmode_movie"))
    assert (film["title"], film["original_title"], film["release_year"]) == ("Parasite", "기생충", 2019)
    assert film["external_ids"] == {"imdb": "tt6751668", "tmdb": 496243}
    assert (film["maturity_rating"], film["original_language"], film["popularity_score"]) == (
        "R",
        "ko",
        0.9829,
    )
    found = offers(film)
    rental = found["apple_tv_plus", "US", "rental"]
    assert (rental["price_cents"], rental["currency"], rental["video_qualities"]) == (
        429,
        "USD",
        ["SD", "UHD"],
    )
    purchase = found["prime_video", "GB", "purchase"]
    assert (purchase["price_cents"], purchase["currency"]) == (999, "GBP")
    assert "url" not in purchase  # the API puts a sentence there
    assert ("kanopy", "CA", "free") in found
    assert "price_cents" not in found["hulu", "US", "subscription"]


def test_a_streaming_availability_film_in_several_regions() -> None:
    film = mapped("streaming_availability", sample("streaming_availability_movie"))
    assert film["external_ids"] == {"imdb": "tt0111161", "tmdb": 278}
    assert (film["average_rating"], film["runtime_minutes"]) == (9.1, 142)
    found = offers(film)
    rental = found["prime_video", "US", "rental"]
    assert (rental["price_cents"], rental["currency"]) == (379, "USD")
    assert (rental["audio_languages"], rental["subtitle_languages"]) == (["en", "es"], ["en"])
    assert rental["available_from"] == "2023-03-03T05:51:10Z"
    assert found["hbo_max", "US", "subscription"]["available_until"] == "2027-02-27T04:00:00Z"
    yen = found["apple_tv_plus", "JP", "purchase"]
    assert (yen["price_cents"], yen["currency"]) == (1528, "JPY")
    assert [(c["role"], c["name"]) for c in film["credits"]] == [
        ("director", "Frank Darabont"), ("actor", "Morgan Freeman"), ("actor", "Tim Robbins"),
    ]  # fmt: skip


def test_a_streaming_availability_series() -> None:
    series = mapped("streaming_availability", sample("streaming_availability_series"))
    assert (series["content_type"], series["release_year"]) == ("series", 2016)
    assert series["series"] == {"total_seasons": 4, "total_episodes": 34}
    assert set(offers(series)) == {("netflix", "US", "subscription"), ("netflix", "GB", "subscription")}
    assert series["external_ids"]["tmdb"] == 66732


def test_xmltv_programmes_are_mapped_without_naming_the_preset() -> None:
    mapper = Mapper(job({"type": "File", "format": "XMLTV", "file": {"path": "x"}}).spec)
    with (DATA / "guide.xml").open("rb") as file:
        film, episode = (mapper.map(one.payload or {}) for one in XmltvReader(1_000_000).read(file))
    assert (film.content_type, film.release_year, film.runtime_minutes) == ("movie", 1987, 128)
    assert film.genres == (Genre.DRAMA, Genre.ROMANCE)
    assert film.production_countries == ("DE",)
    assert film.credits is not None
    assert [(c.role.value, c.name) for c in film.credits] == [
        ("director", "Wim Wenders"),
        ("actor", "Bruno Ganz"),
    ]
    assert episode.content_type == "episode"
    assert episode.series is not None
    assert (episode.series.season_number, episode.series.episode_number) == (2, 5)


@pytest.mark.parametrize(
    "name", ["genres", "content_types", "maturity_ratings", "platforms", "languages", "countries"]
)
def test_vocabularies_hold_texts_that_yaml_did_not_reread(name: str) -> None:
    # YAML reads a bare `no` as false: Norway and Norwegian are the classic victims.
    for key, value in vocabulary(name).items():
        assert isinstance(key, str)
        assert all(isinstance(word, str) for word in (value if name == "genres" else [value]))


def test_genre_words_lead_to_genres() -> None:
    known = {genre.value for genre in Genre}
    assert {word for words in vocabulary("genres").values() for word in words} <= known
