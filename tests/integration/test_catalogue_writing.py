from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import orjson
import pytest
import sqlalchemy as sa

from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.content import Credit, CreditRole, Genre, Images, SourceRecord
from media_gateway.core.domain.vectors import EMBEDDING_DIMENSION, Vector, VectorPayload, VectorPoint
from media_gateway.core.errors import MediaGatewayError
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from tests.support.catalogue import (
    check_consistency,
    drain_events,
    fetch,
    homes,
    offering,
    record,
    run_of,
    write,
)


async def events_of(database: Database, *records: SourceRecord) -> dict[str, dict[str, Any]]:
    await drain_events(database)
    await write(database, *records)
    return dict(await drain_events(database))


async def test_every_field_is_stored_and_read_back(database):
    full = record(
        "1",
        title="Heat",
        original_title='He"at\\',
        overview="Words, {braces} and \N{SNOWMAN}.",
        alternate_titles={"de": "Hitze"},
        runtime_minutes=170,
        genres=(Genre.CRIME, Genre.DRAMA),
        keywords=("null", 'a "b" \\c', "x,y"),
        images=Images(poster="https://example.org/p.jpg"),
        credits=(Credit(name="Al Pacino", role=CreditRole.ACTOR, character="Hanna"),),
        offerings=(
            offering(price_cents=399, currency="USD", available_from=datetime(2024, 1, 1, tzinfo=UTC)),
        ),
        average_rating=8.3,
        production_countries=("United States",),
        imdb="tt0113277",
    )
    await write(database, full)

    async def check() -> None:
        (content,) = await fetch(database, "SELECT * FROM contents")
        assert (content.title, content.title_key, content.original_title) == ("Heat", "heat", 'He"at\\')
        assert content.genres == ["crime", "drama"]
        assert content.keywords == ["null", 'a "b" \\c', "x,y"]
        assert content.alternate_titles == {"de": "Hitze"}
        assert content.images == {"poster": "https://example.org/p.jpg"}
        (shown,) = await fetch(database, "SELECT * FROM offerings")
        assert (shown.price_cents, shown.currency, shown.source) == (399, "USD", "one")
        assert shown.available_from == datetime(2024, 1, 1, tzinfo=UTC)
        (credit,) = await fetch(database, "SELECT * FROM credits")
        assert (credit.role, credit.position, credit.name, credit.character) == (
            "actor",
            0,
            "Al Pacino",
            "Hanna",
        )

    await check()
    # The same again by the other way in: an update of a content that exists.
    await write(database, full.model_copy(update={"overview": "Other words."}))
    await write(database, full)
    await check()


async def test_unchanged_record_writes_no_event_and_only_its_sighting(database):
    heat = record("1", title="Heat", offerings=(offering(),))
    first = await write(database, heat)
    before = await fetch(database, "SELECT updated_at FROM contents")
    await drain_events(database)
    again = await write(database, heat)
    assert (again.created, again.updated, again.unchanged) == (0, 0, 1)
    assert again.content_ids == first.content_ids
    assert await drain_events(database) == []
    assert await fetch(database, "SELECT updated_at FROM contents") == before


async def test_changes_are_told_by_kind_with_their_fields(database):
    heat = record("1", title="Heat")
    assert set(await events_of(database, heat)) == {"content.ingested"}
    enriched = heat.model_copy(update={"overview": "Words."})
    assert (await events_of(database, enriched))["content.metadata_enriched"]["changes"] == [
        "overview",
        "quality_score",
    ]
    updated = enriched.model_copy(update={"overview": "Other words."})
    assert (await events_of(database, updated))["content.updated"]["changes"] == ["overview"]
    offered = updated.model_copy(update={"offerings": (offering(),)})
    told = await events_of(database, offered)
    assert set(told) == {"content.availability_changed"}
    (change,) = told["content.availability_changed"]["offerings"]
    assert (change["platform"], change["was_available"], change["is_available"]) == ("netflix", False, True)
    told = await events_of(database, offered.model_copy(update={"offerings": ()}))
    (change,) = told["content.availability_changed"]["offerings"]
    assert (change["was_available"], change["is_available"]) == (True, False)


async def vector_work(database: Database, *records: SourceRecord) -> list[str]:
    await fetch(database, "DELETE FROM outbox RETURNING id")
    await write(database, *records)
    rows = await fetch(database, "SELECT body FROM outbox WHERE destination = 'vectors' ORDER BY id")
    return [orjson.loads(row.body)["op"] for row in rows]


async def test_vectors_are_asked_for_when_text_or_platforms_change_only(database):
    heat = record("1", title="Heat", offerings=(offering("netflix"),))
    assert await vector_work(database, heat) == ["upsert"]
    assert await vector_work(database, heat.model_copy(update={"rating_count": 9})) == []
    assert await vector_work(database, heat.model_copy(update={"overview": "Words."})) == ["upsert"]
    priced = (offering("netflix", price_cents=1, currency="USD"),)
    assert await vector_work(database, heat.model_copy(update={"offerings": priced})) == []
    assert await vector_work(database, heat.model_copy(update={"offerings": (offering("hulu"),)})) == [
        "upsert"
    ]


async def test_null_never_erases(database):
    await write(
        database, record("1", title="Heat", overview="Words.", runtime_minutes=170, offerings=(offering(),))
    )
    await write(database, record("1", title="Heat", genres=(Genre.CRIME,)))
    (content,) = await fetch(database, "SELECT * FROM contents")
    assert (content.overview, content.runtime_minutes, content.genres) == ("Words.", 170, ["crime"])
    assert len(await fetch(database, "SELECT 1 FROM offerings WHERE ended_at IS NULL")) == 1


async def test_older_statement_that_comes_late_changes_nothing(database):
    new = record("1", title="Heat", overview="New.", updated_at=datetime(2024, 2, 1, tzinfo=UTC))
    await write(database, new)
    old = new.model_copy(update={"overview": "Old.", "updated_at": datetime(2024, 1, 1, tzinfo=UTC)})
    report = await write(database, old)
    assert report.unchanged == 1
    (content,) = await fetch(database, "SELECT overview FROM contents")
    assert content.overview == "New."


async def test_source_replaces_its_own_offerings_only(database):
    imdb = "tt0113277"
    await write(
        database, record("1", source="one", imdb=imdb, offerings=(offering("netflix"), offering("hulu")))
    )
    await write(database, record("1", source="two", imdb=imdb, offerings=(offering("netflix"),)))
    await write(database, record("1", source="one", imdb=imdb, offerings=(offering("hulu"), offering("max"))))
    rows = await fetch(database, "SELECT source, platform, ended_at IS NULL AS live FROM offerings")
    assert {tuple(row) for row in rows} == {
        ("one", "netflix", False),
        ("one", "hulu", True),
        ("one", "max", True),
        ("two", "netflix", True),
    }


async def test_full_run_ends_what_its_source_no_longer_lists(database):
    writer = CatalogueWriter(database)
    records = [record(str(n), offerings=(offering(),)) for n in range(3)]
    await writer.write(records, run=run_of("one"))
    await writer.write([record("1", source="two", offerings=(offering(),))], run=run_of("two"))
    await drain_events(database)
    run = run_of("one")
    await writer.write(records[:2], run=run)
    assert await writer.finish_full_run(run) == 1
    assert [kind for kind, _ in await drain_events(database)] == ["content.availability_changed"]
    rows = await fetch(
        database, "SELECT source, count(*) FROM offerings WHERE ended_at IS NULL GROUP BY source"
    )
    assert dict(tuple(row) for row in rows) == {"one": 2, "two": 1}
    assert len(await fetch(database, "SELECT 1 FROM contents")) == 4
    assert await writer.finish_full_run(run) == 0


async def test_delisted_record_that_comes_again_is_listed_again_with_its_first_sighting(database):
    writer = CatalogueWriter(database)
    film = record("1", offerings=(offering(),))
    await writer.write([film], run=run_of())
    (before,) = await fetch(database, "SELECT first_seen FROM offerings")
    assert await writer.finish_full_run(run_of()) == 1
    await drain_events(database)
    report = await writer.write([film], run=run_of())
    assert report.updated == 1
    assert [kind for kind, _ in await drain_events(database)] == ["content.availability_changed"]
    (after,) = await fetch(database, "SELECT first_seen, ended_at FROM offerings")
    assert (after.first_seen, after.ended_at) == (before.first_seen, None)


async def test_more_unseen_records_than_a_page_are_all_delisted(database):
    writer = CatalogueWriter(database)
    await writer.write([record(f"{n:04}", offerings=(offering(),)) for n in range(450)], run=run_of())
    assert await writer.finish_full_run(run_of()) == 450
    assert await fetch(database, "SELECT 1 FROM offerings WHERE ended_at IS NULL") == []


async def test_source_that_repeats_itself_in_a_batch_is_taken_at_its_last_word(database):
    first = record("1", title="Heat", overview="Words.", imdb="tt0113277")
    report = await write(database, first, record("1", title="HEAT"), record("2", imdb="tt0113277"))
    assert (report.created, report.updated) == (2, 1)
    assert len(set(report.content_ids)) == 1
    (content,) = await fetch(database, "SELECT title, overview FROM contents")
    assert tuple(content) == ("HEAT", "Words.")
    assert (await write(database, record("1", title="HEAT"))).unchanged == 1


async def test_refused_record_is_isolated_and_reported_and_the_rest_is_written(database):
    # The database refuses it with a constraint of its own, as a stand-in for what can't be foreseen.
    async with database.transaction() as connection:
        await connection.execute(
            sa.text("ALTER TABLE contents ADD CONSTRAINT no_curse CHECK (title NOT LIKE 'curse%')")
        )
    records = [record(str(n), title=f"curse {n}" if n in {3, 7} else None) for n in range(11)]
    report = await write(database, *records)
    assert [rejection[0] for rejection in report.rejected] == [3, 7]
    assert all("no_curse" in rejection[2] for rejection in report.rejected)
    assert report.created == 9
    assert len(await homes(database)) == 9
    assert [place for place, content_id in enumerate(report.content_ids) if content_id is None] == [3, 7]


async def test_bad_records_are_rejected_with_the_field_at_fault(database):
    good = record("1", title="Heat")
    bad = record("2", overview="a\0b")
    foreign = record("3", source="two")
    report = await write(database, good, bad, foreign)
    assert [(place, name) for place, name, _ in report.rejected] == [(1, "overview"), (2, "source")]
    assert report.created == 1


async def test_what_a_caller_adds_is_committed_or_undone_with_the_batch(database):
    async def also(connection, report):
        await connection.execute(sa.text("CREATE TABLE checkpoint (n int)"))
        raise MediaGatewayError("no")

    with pytest.raises(MediaGatewayError, match="no"):
        await CatalogueWriter(database).write([record("1")], run=run_of(), also=also)
    assert await homes(database) == {}


async def test_empty_batch_runs_what_a_caller_adds(database):
    seen = []

    async def also(connection, report):
        seen.append(report.created)

    await CatalogueWriter(database).write([], run=run_of(), also=also)
    assert seen == [0]


async def test_record_of_another_source_joins_by_any_of_its_ids(database):
    eidr = "10.5240/7791-8534-2C23-9030-8610-5"
    first = await write(database, record("1", imdb="tt0133093", tmdb=603))
    second = await write(database, record("x", source="two", eidr=eidr, tmdb=603))
    assert second.content_ids == first.content_ids
    third = await write(database, record("y", source="three", eidr=eidr))
    assert third.content_ids == first.content_ids
    rows = await fetch(
        database, "SELECT source, link_reason, link_confidence FROM source_records ORDER BY source"
    )
    assert [(source, reason, round(sure, 2)) for source, reason, sure in rows] == [
        ("one", "new", 1.0),
        ("three", "exact_id", 1.0),
        ("two", "exact_id", 0.99),
    ]
    await check_consistency(database)


async def test_record_joins_by_title_across_batches_and_spellings(database):
    first = await write(database, record("1", title="The Shawshank Redemption", imdb="tt0111161"))
    second = await write(database, record("a", source="two", title="Shawshank Redemption, The"))
    third = await write(
        database, record("b", source="three", title="Shawshenk Redemption", release_year=2000)
    )
    assert first.content_ids == second.content_ids == third.content_ids
    rows = await fetch(
        database, "SELECT source, link_reason, linked_source FROM source_records ORDER BY source"
    )
    assert [tuple(row) for row in rows] == [
        ("one", "new", None),
        ("three", "fuzzy_title", "one"),
        ("two", "exact_title", "one"),
    ]


async def test_same_named_films_of_one_year_stay_apart_and_a_third_without_ids_joins_neither(database):
    await write(
        database, record("1", title="Home", imdb="tt0000001"), record("2", title="Home", imdb="tt0000002")
    )
    await write(database, record("3", title="Home", imdb="tt0000003"))
    await write(database, record("4", source="two", title="Home"))
    assert len(set((await homes(database)).values())) == 4


async def test_embedding_joins_through_the_vector_index_only_when_the_record_brings_one(database):
    known = (await write(database, record("1", title="La La Land"))).content_ids[0]
    index = PgvectorIndex(database)
    await index.ensure()
    assert known is not None
    vector, near = unit(1.0, 0.0), unit(0.95, (1 - 0.95**2) ** 0.5)
    # A content that is gone while its vector is still there must do no harm.
    for content_id in (known, uuid4()):
        payload = VectorPayload(title="La La Land", content_type="movie", release_year=1999)
        await index.upsert_batch([VectorPoint(content_id, vector, payload)])
    writer = CatalogueWriter(database, index)

    async def home_of(source_id: str, title: str, embedding: Vector | None) -> UUID | None:
        brought = tuple(map(float, embedding)) if embedding is not None else None
        new = record(source_id, source="two", title=title, embedding=brought)
        return (await write(database, new, writer=writer)).content_ids[0]

    assert await home_of("a", "City of Stars", near) == known
    assert await home_of("b", "Whiplash", unit(0.9, (1 - 0.9**2) ** 0.5)) != known
    assert await home_of("c", "First Man", None) != known
    rows = await fetch(
        database, "SELECT link_reason, link_confidence FROM source_records WHERE source_id = 'a'"
    )
    assert [(reason, 0.85 < sure < 0.95) for reason, sure in rows] == [("embedding", True)]


async def test_embedding_that_is_no_direction_is_rejected(database):
    writer = CatalogueWriter(database, PgvectorIndex(database))
    report = await write(database, record("1", embedding=(0.0, 0.0)), writer=writer)
    assert [name for _, name, _ in report.rejected] == ["embedding"]


def unit(*head: float) -> Vector:
    vector = np.zeros(EMBEDDING_DIMENSION, dtype=np.float32)
    vector[: len(head)] = head
    return vector
