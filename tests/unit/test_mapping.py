"""Mapping: rules, transforms, keys, and what is refused with its field and reason."""

import time
from datetime import date
from typing import Any

import pytest

from media_gateway.core.domain.content import Genre, SourceRecord
from media_gateway.core.errors import InvalidInputError
from media_gateway.ingestion.mapping import Mapper, RecordRejectedError
from tests.support.ingestion_sources import job

FILE = {"type": "File", "file": {"path": "films.ndjson"}}
FILM = {"id": "1", "content_type": "movie", "title": "One"}


def mapped(payload: dict[str, Any], **spec: Any) -> SourceRecord:
    return Mapper(job(FILE, **spec).spec).map(payload)


def by_rule(payload: dict[str, Any], field: str, **rule: Any) -> Any:
    """A canonical field made by one rule."""
    fields = {"content_type": {"value": "movie"}, "title": {"value": "One"}, field: rule}
    record = mapped({"id": 1, **payload}, mapping={"fields": fields})
    value: Any = record
    for name in field.split("."):
        value = getattr(value, name)
    return value


def offered(offering: dict[str, Any], fields: dict[str, Any], **rule: Any) -> list[dict[str, Any]]:
    mapping = {
        "fields": {"content_type": {"value": "movie"}, "title": {"value": "One"}},
        "offerings": [{"fields": fields, **rule}],
    }
    record = mapped({"id": 1, **offering}, mapping=mapping)
    return [one.model_dump(mode="json", exclude_defaults=True) for one in record.offerings or ()]


def refused(payload: dict[str, Any], **spec: Any) -> tuple[str, str]:
    with pytest.raises(RecordRejectedError) as caught:
        mapped(payload, **spec)
    return caught.value.field, caught.value.reason


def test_canonical_records_pass_as_they_are() -> None:
    record = mapped({**FILM, "release_year": 1999, "external_ids": {"imdb": "tt0133093"}, "updated": "2026-01-01"},
                    cursorField="updated", mode="Incremental")  # fmt: skip
    assert (record.source, record.source_id, record.title, record.release_year) == ("films", "1", "One", 1999)
    assert record.external_ids.imdb == "tt0133093"
    assert (record.offerings, mapped({**FILM, "offerings": []}).offerings) == (None, ())


def test_an_unknown_field_of_a_canonical_record_is_refused() -> None:
    field, reason = refused({**FILM, "realease_year": 1999})
    assert field == "realease_year"
    assert "not permitted" in reason


@pytest.mark.parametrize(
    ("keys", "payload", "expected"),
    [
        (["id"], {"id": 7}, "7"),
        (["sku", "region"], {"sku": "A", "region": "US"}, "A:US"),
        (["ids.own"], {"ids": {"own": "x"}}, "x"),
        (["id"], {"id": 7, "source_id": "own"}, "own"),
    ],
)
def test_the_key_is_made_of_the_dedupe_fields(
    keys: list[str], payload: dict[str, Any], expected: str
) -> None:
    record = mapped({"content_type": "movie", "title": "One", **payload}, dedupe={"keys": keys})
    assert record.source_id == expected


@pytest.mark.parametrize("key", [None, "", True, 1.5, [1], {"a": 1}])
def test_a_record_without_a_key_is_refused_by_the_keys_name(key: object) -> None:
    assert (
        refused({"content_type": "movie", "title": "One", "sku": key}, dedupe={"keys": ["sku"]})[0] == "sku"
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": None}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": 7}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"title": "a\x1bb"}, "title"),
        ({"title": "a\x85b"}, "title"),
        ({"title": "a\ud800b"}, "title"),
        ({"overview": "a\x00"}, "overview"),
        ({"keywords": ["ok", "a\x07"]}, "keywords.1"),
        ({"keywords": ["x" * 201]}, "keywords.0"),
        ({"credits": [{"name": "a\x01", "role": "actor"}]}, "credits.0.name"),
        ({"credits": [{"name": "A", "role": "singer"}]}, "credits.0.role"),
        ({"alternate_titles": {"de": "a\udfff"}}, "alternate_titles.de"),
        ({"release_year": 0}, "release_year"),
        ({"release_year": 10**400}, "release_year"),
        ({"release_year": "soon"}, "release_year"),
        ({"release_date": "1999-02-30"}, "release_date"),
        ({"runtime_minutes": -1}, "runtime_minutes"),
        ({"average_rating": float("nan")}, "average_rating"),
        ({"average_rating": float("inf")}, "average_rating"),
        ({"popularity_score": 1.5}, "popularity_score"),
        ({"content_type": "podcast"}, "content_type"),
        ({"original_language": "German language"}, "original_language"),
        ({"external_ids": {"imdb": "nm0000001"}}, "external_ids.imdb"),
        ({"external_ids": {"isan": "1"}}, "external_ids.isan"),
        ({"offerings": [{"platform": "netflix", "region": "USA", "availability_type": "free"}]}, "offerings.0.region"),
        ({"offerings": [{"platform": "Net Flix", "region": "US", "availability_type": "free"}]}, "offerings.0.platform"),
        ({"offerings": "none"}, "offerings"),
        ({"genres": [7.5]}, "genres"),
    ],
)  # fmt: skip
def test_what_can_not_be_right_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    where, reason = refused({**FILM, **change})
    assert where == field
    assert reason


def test_white_space_is_made_plain_and_line_breaks_stay_in_the_overview() -> None:
    record = mapped({**FILM, "title": "  One\tand\nonly ", "overview": "First.\n\nSecond."})
    assert record.title == "One and only"
    assert record.overview == "First.\n\nSecond."
    assert mapped({**FILM, "title": "back\\u0000slash"}).title == "back\\u0000slash"


def test_a_long_overview_is_cut_at_a_word() -> None:
    overview = mapped({**FILM, "overview": "word " * 2000}).overview
    assert overview is not None
    assert 4990 <= len(overview) <= 5000
    assert overview.endswith("word…")
    unbroken = mapped({**FILM, "overview": "語" * 6000}).overview
    assert unbroken is not None
    assert len(unbroken) == 5000


def test_sets_hold_nothing_twice() -> None:
    record = mapped({**FILM, "keywords": ["a", "b", "a"], "genres": ["drama", "Drama", "DRAMA"]})
    assert record.keywords == ("a", "b")
    assert record.genres == (Genre.DRAMA,)


@pytest.mark.parametrize(
    ("words", "genres", "keywords"),
    [
        (
            ["Sci-Fi & Fantasy", "Thrillers", "Westerns"],
            ["science_fiction", "fantasy", "thriller", "western"],
            None,
        ),
        (["Comdey", "Documentry"], ["comedy", "documentary"], None),
        (["Steampunk", "drama"], ["drama"], ("Steampunk",)),
        (["Talk"], [], ("Talk",)),
    ],
)
def test_genres_are_matched_by_word_then_by_likeness_and_the_rest_become_keywords(
    words: list[str], genres: list[str], keywords: tuple[str, ...] | None
) -> None:
    record = mapped({**FILM, "genres": words})
    assert record.genres is not None
    assert [genre.value for genre in record.genres] == genres
    assert record.keywords == keywords


@pytest.mark.parametrize(
    ("field", "value", "rule", "expected"),
    [
        ("runtime_minutes", "142 min", {"transform": "minutes"}, 142),
        ("runtime_minutes", "2h 22m", {"transform": "minutes"}, 142),
        ("runtime_minutes", "PT2H22M", {"transform": "minutes"}, 142),
        ("runtime_minutes", 141.6, {"transform": "minutes"}, 142),
        ("runtime_minutes", 0, {"transform": "minutes"}, None),
        ("runtime_minutes", 8520, {"transform": "seconds"}, 142),
        ("release_year", "1999-03-31", {"transform": "year"}, 1999),
        ("release_year", 1999, {"transform": "year"}, 1999),
        ("release_date", "1999-03-31T23:00:00-05:00", {"transform": "date"}, date(1999, 4, 1)),
        ("release_date", 922_838_400, {"transform": "date"}, date(1999, 3, 31)),
        ("release_date", "922838400000", {"transform": "date"}, date(1999, 3, 31)),
        ("original_language", "German", {"transform": "language"}, "de"),
        ("original_language", "ger", {"transform": "language"}, "de"),
        ("original_language", "pt_BR", {"transform": "language"}, "pt-BR"),
        ("original_language", "Quenya", {"transform": "language"}, "mis"),
        ("audio_languages", "English; French;English", {"transform": "languages", "separator": ";"}, ("en", "fr")),
        ("production_countries", "United States, Atlantis, gb", {"transform": "countries"}, ("US", "Atlantis", "GB")),
        ("keywords", "a, b ,,c", {"transform": "list"}, ("a", "b", "c")),
        ("average_rating", "87", {"factor": "0.1"}, 8.7),
        ("popularity_score", 99.5, {"transform": "popularity"}, 0.6673),
        ("popularity_score", 10**9, {"transform": "popularity"}, 1.0),
        ("maturity_rating", "GP", {"transform": "maturity"}, "PG"),
        ("maturity_rating", "FSK 12", {"transform": "maturity"}, None),
        ("images.poster", "/p.jpg", {"prefix": "https://i.example/w500"}, "https://i.example/w500/p.jpg"),
        ("external_ids.tmdb", "movie/603", {"transform": "last_number"}, 603),
        ("series.status", "Ended", {"table": {"ended": "ended"}}, "ended"),
        ("original_title", "", {"default": "Unknown"}, "Unknown"),
        ("original_title", None, {}, None),
    ],
)  # fmt: skip
def test_transforms(field: str, value: Any, rule: dict[str, Any], expected: Any) -> None:
    assert by_rule({"value": value}, field, path="value", **rule) == expected


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("runtime_minutes", "long", {"transform": "minutes"}),
        ("runtime_minutes", "1e400", {"transform": "minutes"}),
        ("rating_count", True, {"transform": "integer"}),
        ("rating_count", "1.5", {"transform": "integer"}),
        ("release_year", "about 1999", {"transform": "year"}),
        ("release_date", "31.03.1999", {"transform": "date"}),
        ("release_date", 10**20, {"transform": "date"}),
        ("original_language", "<b>", {"transform": "language"}),
        ("original_language", {"a": 1}, {"transform": "language"}),
        ("keywords", {"a": 1}, {"transform": "list"}),
        ("images.poster", 7, {"prefix": "https://"}),
        ("average_rating", "NaN", {"factor": "0.1"}),
        ("external_ids.tmdb", "movie", {"transform": "last_number"}),
        ("title", [1], {}),
    ],
)
def test_a_value_that_does_not_fit_its_rule_is_refused_by_field(
    field: str, value: Any, rule: dict[str, Any]
) -> None:
    fields = {"content_type": {"value": "movie"}, "title": {"value": "One"}, field: {"path": "value", **rule}}
    where, reason = refused({"id": 1, "value": value}, mapping={"fields": fields})
    assert where == field
    assert reason


PRICED = {
    "platform": {"value": "shop"},
    "region": {"path": "region", "transform": "country"},
    "availability_type": {"value": "purchase"},
    "price_cents": {"path": "price", "transform": "price"},
    "currency": {"path": "currency"},
}


@pytest.mark.parametrize(
    ("price", "currency", "cents"),
    [
        ("3.99", "USD", 399),
        (0.29, "USD", 29),
        ("4.990", "EUR", 499),
        ("1528", "JPY", 1528),
        ("1.234", "KWD", 1234),
        (0, "USD", 0),
    ],
)
def test_prices_become_minor_units_of_their_currency(price: Any, currency: str, cents: int) -> None:
    (offering,) = offered({"price": price, "currency": currency, "region": "United States"}, PRICED)
    assert (offering["price_cents"], offering["currency"], offering["region"]) == (cents, currency, "US")


def test_every_two_digit_price_keeps_its_cents() -> None:
    mapper = Mapper(
        job(FILE, mapping={"fields": {"content_type": {"value": "movie"}, "title": {"value": "x"}},
                           "offerings": [{"fields": PRICED}]}).spec
    )  # fmt: skip
    for cents in range(0, 10_000, 7):
        record = mapper.map({"id": 1, "price": cents / 100, "currency": "USD", "region": "US"})
        assert record.offerings is not None
        assert record.offerings[0].price_cents == cents


FINER = [("4.999", "USD"), (4.995, "EUR"), ("15.5", "JPY"), ("1.2345", "KWD"), (f"4.99{'0' * 40}1", "USD")]
WRONG = [(wrong, "USD") for wrong in ("-1", "free", "1,99", "1e99", True)]


@pytest.mark.parametrize(("price", "currency"), [*FINER, *WRONG])
def test_a_price_that_is_wrong_or_finer_than_its_currency_is_refused(price: Any, currency: str) -> None:
    with pytest.raises(RecordRejectedError) as caught:
        offered({"price": price, "currency": currency, "region": "US"}, PRICED)
    assert caught.value.field == "offerings.0.price_cents"


def test_offerings_that_are_the_same_are_united_and_the_lowest_price_stays() -> None:
    offering = {"platform": "shop", "region": "US", "availability_type": "rental", "currency": "USD"}
    record = mapped(
        {
            **FILM,
            "offerings": [
                {
                    **offering,
                    "price_cents": 499,
                    "video_qualities": ["UHD"],
                    "url": "https://shop.example/uhd",
                },
                {**offering, "price_cents": 299, "video_qualities": ["SD"], "url": "https://shop.example/sd"},
                {**offering, "region": "GB", "price_cents": 100},
            ],
        }
    )
    assert record.offerings is not None
    first, second = record.offerings
    assert (first.price_cents, first.url) == (299, "https://shop.example/sd")
    assert [quality.value for quality in first.video_qualities] == ["UHD", "SD"]
    assert second.region == "GB"


def test_maps_within_maps_are_spread_and_items_without_a_platform_passed_over() -> None:
    fields = {
        "platform": {"path": "name", "transform": "platform"},
        "region": {"path": "country", "transform": "country"},
        "availability_type": {"path": "how", "table": {"flat": "subscription"}},
    }
    where = {
        "us": {"flat": [{"name": "Disney+"}, {"name": None}], "link": "https://x.example"},
        "de": {"flat": {"name": "RTL+"}},
    }
    found = offered({"where": where}, fields, path="where", keys=["country", "how"])
    assert [(one["platform"], one["region"]) for one in found] == [("disney_plus", "US"), ("rtl_plus", "DE")]


def test_people_come_from_texts_and_lists_numbered_by_role_without_doubles() -> None:
    mapping = {
        "fields": {"content_type": {"value": "movie"}, "title": {"value": "One"}},
        "credits": [
            {"path": "director", "fields": {"name": {"path": "value"}, "role": {"value": "director"}}},
            {
                "path": "crew[?job=='Writer']",
                "fields": {"name": {"path": "name"}, "role": {"value": "writer"}},
            },
            {"path": "stars", "fields": {"name": {"path": "value"}, "role": {"value": "actor"}}},
        ],
    }
    crew = [{"name": "C", "job": "Writer"}, {"name": "X", "job": "Camera"}, {"name": "C", "job": "Writer"}]
    payload = {"id": 1, "director": "A, B,, A", "crew": crew, "stars": ["D", "E"]}
    record = mapped(payload, mapping=mapping)
    assert record.credits is not None
    assert [(c.role.value, c.name, c.position) for c in record.credits] == [
        ("director", "A", 0), ("director", "B", 1), ("writer", "C", 0), ("actor", "D", 0), ("actor", "E", 1),
    ]  # fmt: skip


def test_own_rules_replace_those_of_a_preset() -> None:
    payload = {"id": 603, "title": "The Matrix", "mine": "Matrix"}
    mapping = {
        "preset": "tmdb",
        "fields": {"title": {"path": "mine"}, "source_id": {"path": "to_string(id)"}},
    }
    record = mapped(payload, mapping=mapping)
    assert (record.title, record.source_id, record.content_type.value) == ("Matrix", "603", "movie")


@pytest.mark.parametrize(
    ("mapping", "where"),
    [
        ({"fields": {"title": {"path": "a["}}}, "spec.mapping.fields.title.path"),
        ({"fields": {"titel": {"path": "a"}}}, "spec.mapping.fields.titel"),
        ({"fields": {"title.x": {"path": "a"}}}, "spec.mapping.fields.title.x"),
        ({"preset": "tmdb", "offerings": [{"path": "a b", "fields": {"region": {"path": "x"}}}]},
         "spec.mapping.offerings.0.path"),
        ({"preset": "tmdb", "credits": [{"fields": {"name": {"path": "?"}}}]}, "spec.mapping.credits.0.fields.name"),
    ],
)  # fmt: skip
def test_a_rule_that_can_not_be_used_is_told_before_anything_is_read(
    mapping: dict[str, Any], where: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Mapper(job(FILE, mapping=mapping).spec)
    assert caught.value.message.startswith(where)


def test_a_function_that_does_not_fit_the_payload_refuses_the_record() -> None:
    fields = {"content_type": {"value": "movie"}, "title": {"path": "join(',', names)"}}
    assert refused({"id": 1, "names": 7}, mapping={"fields": fields})[0] == "title"


def test_mapping_costs_little_more_than_checking_the_result() -> None:
    people = [{"name": f"Person {number}", "role": "actor", "position": number} for number in range(12)]
    offering = {"platform": "netflix", "region": "US", "availability_type": "subscription", "demo": True}
    film = {
        **FILM,
        "overview": "Some words. " * 30,
        "genres": ["drama"],
        "credits": people,
        "offerings": [offering],
    }
    films = [{**film, "id": str(number)} for number in range(1000)]
    checked = [{**film, "source": "films", "source_id": "1"} for film in films]
    for one in checked:
        del one["id"]
    mapper = Mapper(job(FILE).spec)

    def seconds(call: Any, items: list[dict[str, Any]]) -> float:
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            for item in items:
                call(item)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(mapper.map, films) < 3 * seconds(SourceRecord.model_validate, checked)
