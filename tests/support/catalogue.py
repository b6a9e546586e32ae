"""Records to write and views of what became of them, for the tests of the catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import orjson
import sqlalchemy as sa

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.content import (
    AvailabilityType,
    ContentType,
    ExternalIds,
    Offering,
    SourceRecord,
)
from media_gateway.ingestion.services.catalogue import CatalogueWriter, RunContext, WriteReport


def record(source_id: str, *, source: str = "one", title: str | None = None, **fields: Any) -> SourceRecord:
    """A film of 1999; without a title it has one of its own that resembles no other."""
    ids = {
        name: fields.pop(name)
        for name in ("eidr", "imdb", "tmdb", "tvdb", "wikidata", "platforms")
        if name in fields
    }
    given = {"content_type": ContentType.MOVIE, "release_year": 1999, **fields}
    return SourceRecord(
        source=source,
        source_id=source_id,
        title=title or f"{uuid4().hex} {source_id}",
        external_ids=ExternalIds(**ids),
        **given,
    )


def offering(platform: str = "netflix", *, region: str = "US", **fields: Any) -> Offering:
    """A subscription offering."""
    given = {"availability_type": AvailabilityType.SUBSCRIPTION, **fields}
    return Offering(platform=platform, region=region, **given)


def run_of(source: str = "one", *, priority: int = 100) -> RunContext:
    """A new run of a source."""
    return RunContext(run_id=uuid4(), source=source, priority=priority, mode="Full")


async def write(
    database: Database, *records: SourceRecord, priority: int = 100, writer: CatalogueWriter | None = None
) -> WriteReport:
    """Write records of one source in one batch."""
    run = run_of(records[0].source, priority=priority)
    return await (writer or CatalogueWriter(database)).write(records, run=run)


async def fetch(database: Database, statement: str, **parameters: Any) -> Sequence[Any]:
    """Rows of a query."""
    async with database.transaction() as connection:
        return (await connection.execute(sa.text(statement), parameters)).all()


async def homes(database: Database) -> dict[tuple[str, str], UUID]:
    """Content of each record."""
    rows = await fetch(database, "SELECT source, source_id, content_id FROM source_records")
    return {(source, source_id): content_id for source, source_id, content_id in rows}


def partition_of(places: Mapping[tuple[str, str], Any]) -> set[frozenset[tuple[str, str]]]:
    """Groups of records that are in one place."""
    groups: dict[Any, set[tuple[str, str]]] = {}
    for key, place in places.items():
        groups.setdefault(place, set()).add(key)
    return {frozenset(group) for group in groups.values()}


async def drain_events(database: Database) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of the content events that wait in the outbox; they are taken out, with everything else."""
    rows = await fetch(
        database,
        "WITH gone AS (DELETE FROM outbox RETURNING id, destination, body) "
        "SELECT body FROM gone WHERE destination = 'events' ORDER BY id",
    )
    events = [orjson.loads(row.body) for row in rows]
    return [(event["type"], event["data"]) for event in events]


async def check_consistency(database: Database) -> None:
    """Assert what must hold of the tables after any history: projections and truth agree."""
    orphans = await fetch(
        database,
        "SELECT 'external_ids', content_id FROM external_ids WHERE content_id NOT IN (SELECT id FROM contents) UNION ALL "
        "SELECT 'offerings', content_id FROM offerings WHERE content_id NOT IN (SELECT id FROM contents) UNION ALL "
        "SELECT 'credits', content_id FROM credits WHERE content_id NOT IN (SELECT id FROM contents) UNION ALL "
        "SELECT 'contents', id FROM contents WHERE id NOT IN (SELECT content_id FROM source_records) UNION ALL "
        "SELECT 'redirects', old_id FROM content_redirects WHERE old_id IN (SELECT id FROM contents)",
    )
    assert not orphans
    stale = await fetch(
        database,
        "SELECT c.id FROM contents c WHERE "
        "ARRAY(SELECT DISTINCT source FROM source_records WHERE content_id = c.id ORDER BY 1) "
        "<> ARRAY(SELECT source FROM unnest(c.sources) AS source ORDER BY 1)",
    )
    assert not stale
    stored = await fetch(database, "SELECT content_id, record->'external_ids'->>'imdb' FROM source_records")
    said = {(imdb, content_id) for content_id, imdb in stored if imdb}
    kept = {
        tuple(row)
        for row in await fetch(
            database, "SELECT id_value, content_id FROM external_ids WHERE id_type = 'imdb'"
        )
    }
    assert kept == said


def connected(records: Iterable[SourceRecord]) -> set[frozenset[tuple[str, str]]]:
    """The partition that exact ids ask for, worked out the slow and plain way."""
    from media_gateway.ingestion.identity.keys import exact_keys

    groups: list[tuple[set[tuple[str, str]], set[tuple[str, str]]]] = []
    for each in {(each.source, each.source_id): each for each in records}.values():
        members, keys = {(each.source, each.source_id)}, set(exact_keys(each))
        for group in [group for group in groups if group[1] & keys]:
            groups.remove(group)
            members |= group[0]
            keys |= group[1]
        groups.append((members, keys))
    return {frozenset(members) for members, _ in groups}
