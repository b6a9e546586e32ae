from uuid import UUID, uuid4

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import ConflictError, InvalidInputError, NotFoundError
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from tests.support.catalogue import (
    check_consistency,
    drain_events,
    fetch,
    homes,
    offering,
    partition_of,
    record,
    write,
)


@pytest.fixture
def writer(database):
    return CatalogueWriter(database)


async def content_of(database: Database, source_id: str, source: str = "one") -> UUID:
    return (await homes(database))[source, source_id]


async def test_record_that_bridges_two_contents_merges_them_into_the_older_one(database, writer):
    await write(database, record("1", imdb="tt0000001", offerings=(offering("netflix"),)))
    await write(database, record("2", source="two", tmdb=5, offerings=(offering("hulu"),)))
    old, young = await content_of(database, "1"), await content_of(database, "2", "two")
    await drain_events(database)
    await write(database, record("3", source="three", imdb="tt0000001", tmdb=5))
    survivor, gone = (old, young) if old < young else (young, old)
    assert set((await homes(database)).values()) == {survivor}
    events = await drain_events(database)
    merged = [data for kind, data in events if kind == "content.merged"]
    assert [(data["content_id"], data["merged_id"]) for data in merged] == [(str(survivor), str(gone))]
    assert await writer.resolve_redirect(gone) == survivor
    rows = await fetch(database, "SELECT platform, content_id FROM offerings")
    assert {tuple(row) for row in rows} == {("netflix", survivor), ("hulu", survivor)}
    await check_consistency(database)


async def test_merge_tells_the_vector_store_to_forget_the_content_that_is_gone(database):
    await write(database, record("1", imdb="tt0000001"), record("2", tmdb=5))
    await drain_events(database)
    await write(database, record("3", imdb="tt0000001", tmdb=5))
    rows = await fetch(
        database, "SELECT key, convert_from(body, 'UTF8') FROM outbox WHERE destination = 'vectors'"
    )
    deleted = {key for key, body in rows if "delete" in body}
    (gone,) = await fetch(database, "SELECT old_id FROM content_redirects")
    assert deleted == {str(gone.old_id)}


async def test_redirects_lead_to_the_last_content_of_a_chain_in_one_step(database, writer):
    for number in range(1, 5):
        await write(database, record(str(number), tmdb=number, wikidata=f"Q{number}"))
    contents = [await content_of(database, str(number)) for number in range(1, 5)]
    for number in range(4, 1, -1):
        await write(database, record(f"bridge {number}", tmdb=number, wikidata=f"Q{number - 1}"))
    (home,) = set((await homes(database)).values())
    for content_id in contents:
        assert await writer.resolve_redirect(content_id) == (None if content_id == home else home)
    assert await writer.resolve_redirect(uuid4()) is None


async def test_corrected_id_splits_a_content_and_takes_its_offerings_along(database):
    await write(database, record("1", source="one", imdb="tt0000001", offerings=(offering("netflix"),)))
    await write(database, record("2", source="two", imdb="tt0000001", offerings=(offering("hulu"),)))
    assert len(set((await homes(database)).values())) == 1
    await drain_events(database)
    await write(database, record("2", source="two", imdb="tt0000002"))
    first, second = await content_of(database, "1"), await content_of(database, "2", "two")
    assert first != second
    rows = await fetch(database, "SELECT content_id, platform, ended_at FROM offerings")
    assert {tuple(row) for row in rows} == {(first, "netflix", None), (second, "hulu", None)}
    kinds = [kind for kind, _ in await drain_events(database)]
    assert "content.ingested" in kinds
    assert "content.availability_changed" in kinds
    await check_consistency(database)


async def test_record_linked_by_title_stays_when_ids_elsewhere_in_the_content_change(database):
    await write(database, record("1", source="one", title="Heat", imdb="tt0000001"))
    await write(database, record("2", source="two", title="Heat"))
    await write(database, record("1", source="one", title="Heat", imdb="tt0000009"))
    assert len(set((await homes(database)).values())) == 1
    await write(database, record("2", source="two", title="Heat", imdb="tt0000002"))
    assert len(set((await homes(database)).values())) == 2


async def test_corrected_title_finds_its_content(database):
    await write(database, record("1", source="one", title="Heat", imdb="tt0000001"))
    await write(database, record("2", source="two", title="Hoot and Holler"))
    assert len(set((await homes(database)).values())) == 2
    await write(database, record("2", source="two", title="Heat"))
    assert len(set((await homes(database)).values())) == 1
    await check_consistency(database)


async def test_title_link_ends_when_the_titles_no_longer_agree(database):
    await write(database, record("1", source="one", title="Heat"), record("9", source="one"))
    await write(database, record("2", source="two", title="Heat"))
    await write(database, record("1", source="one", title="Quite another film"))
    assert len(set((await homes(database)).values())) == 3


async def test_admin_merge_is_respected_when_the_records_come_again(database, writer):
    one, two = record("1", imdb="tt0000001"), record("2", imdb="tt0000002")
    await write(database, one, two)
    into, other = await content_of(database, "1"), await content_of(database, "2")
    await writer.merge(into, [other])
    assert set((await homes(database)).values()) == {into}
    await write(database, two.model_copy(update={"overview": "Words."}))
    await write(database, record("3", imdb="tt0000002"))
    assert set((await homes(database)).values()) == {into}
    assert await writer.resolve_redirect(other) == into
    reasons = await fetch(
        database, "SELECT source_id, link_reason, pinned FROM source_records ORDER BY source_id"
    )
    assert [tuple(row) for row in reasons] == [
        ("1", "admin", True),
        ("2", "admin", True),
        ("3", "exact_id", False),
    ]
    await check_consistency(database)


async def test_admin_split_holds_against_shared_ids(database, writer):
    one, two = record("1", imdb="tt0000001"), record("2", imdb="tt0000001", offerings=(offering(),))
    await write(database, one, two)
    whole = await content_of(database, "1")
    await drain_events(database)
    new = await writer.split(whole, [("one", "2")])
    kinds = {kind for kind, _ in await drain_events(database)}
    assert "content.ingested" in kinds
    await write(database, one.model_copy(update={"overview": "a"}), two.model_copy(update={"overview": "b"}))
    places = await homes(database)
    assert places == {("one", "1"): whole, ("one", "2"): new}
    rows = await fetch(database, "SELECT content_id FROM offerings")
    assert [row.content_id for row in rows] == [new]
    await write(database, record("3", imdb="tt0000001"))
    assert len(partition_of(await homes(database))) == 2


async def test_split_and_merge_refuse_what_makes_no_sense(database, writer):
    await write(database, record("1"))
    content_id = await content_of(database, "1")
    with pytest.raises(ConflictError):
        await writer.split(content_id, [("one", "1")])
    with pytest.raises(NotFoundError):
        await writer.split(content_id, [("one", "2")])
    with pytest.raises(InvalidInputError):
        await writer.split(content_id, [])
    with pytest.raises(NotFoundError):
        await writer.split(uuid4(), [("one", "1")])
    with pytest.raises(NotFoundError):
        await writer.merge(content_id, [uuid4()])
    with pytest.raises(InvalidInputError):
        await writer.merge(content_id, [content_id])


async def test_removed_content_stays_out_until_it_is_restored(database, writer):
    film = record("1", title="Heat")
    await write(database, film)
    content_id = await content_of(database, "1")
    await drain_events(database)
    await writer.remove(content_id)
    await writer.remove(content_id)
    assert [kind for kind, _ in await drain_events(database)] == ["content.removed"]
    await write(database, film.model_copy(update={"overview": "Words."}))
    assert await drain_events(database) == []
    (content,) = await fetch(database, "SELECT overview, removed_at FROM contents")
    assert content.overview == "Words."
    assert content.removed_at is not None
    # Another source's record of the same title is a work of its own: nobody would see it in a removed content.
    await write(database, record("2", source="two", title="Heat"))
    assert await content_of(database, "2", "two") != content_id
    await drain_events(database)
    await writer.restore(content_id)
    assert [kind for kind, _ in await drain_events(database)] == ["content.updated"]
    with pytest.raises(NotFoundError):
        await writer.remove(uuid4())


async def test_content_keeps_its_id_and_first_sighting_when_another_source_speaks_first(database):
    report = await write(
        database, record("1", source="one", title="Heat", imdb="tt0000001", overview="One."), priority=50
    )
    again = await write(
        database, record("2", source="two", title="Heat!", imdb="tt0000001", overview="Two."), priority=10
    )
    assert again.content_ids == report.content_ids
    (content,) = await fetch(database, "SELECT title, overview, sources FROM contents")
    assert tuple(content) == ("Heat!", "Two.", ["two", "one"])
