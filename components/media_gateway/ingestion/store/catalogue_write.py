"""What identity resolution writes: a `Plan` in a few statements. Called by `CatalogueWriter` only.

Rows of a statement are sorted by the key other writers may wait for (title hash, exact id, record), and the statements
always come in the same order, so that writers queue instead of blocking each other. Rows that were looked up and not
found come by COPY: if another writer was first, the unique violation has the whole batch looked at again. Rows that may
exist are upserted.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.ingestion.identity.folding import FIELDS, OfferingKey
from media_gateway.ingestion.identity.keys import ExactKey
from media_gateway.ingestion.identity.plan import ContentChange, Plan
from media_gateway.ingestion.identity.records import Member, aware
from media_gateway.ingestion.store import literals
from media_gateway.ingestion.store.refusals import StaleReadError

_ARRAYS = frozenset(
    {
        "genres",
        "audio_languages",
        "production_countries",
        "production_companies",
        "keywords",
        "sources",
        "video_qualities",
        "subtitle_languages",
        "subtitle_formats",
    }
)
"""Columns of type text[]. Postgres can't unnest arrays of arrays of different lengths, so they travel as literals."""

_TYPES = {
    "alternate_titles": "jsonb",
    "release_year": "int",
    "release_date": "date",
    "runtime_minutes": "int",
    "average_rating": "real",
    "rating_count": "int",
    "popularity_score": "real",
    "images": "jsonb",
    "series": "jsonb",
    "quality_score": "real",
    "id": "uuid",
    "content_id": "uuid",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "title_hash": "bigint",
    "title_slot": "int",
    "block_head": "bigint",
    "block_tail": "bigint",
    "price_cents": "int",
    "available_from": "timestamptz",
    "available_until": "timestamptz",
    "demo": "boolean",
    "first_seen": "timestamptz",
    "last_seen": "timestamptz",
    "position": "int",
    "priority": "int",
    "record": "jsonb",
    "digest": "bytea",
    "link_confidence": "real",
    "pinned": "boolean",
    "delisted": "boolean",
    "run_id": "uuid",
    "seen_at": "timestamptz",
}
"""Column types other than text."""


def _rows_of(columns: Sequence[str]) -> str:
    """``unnest`` of one array parameter a column, as a table of those columns."""
    arrays = ", ".join(
        f"${number}::{_TYPES.get(column, 'text')}[]" for number, column in enumerate(columns, start=1)
    )
    return f"unnest({arrays}) AS new ({', '.join(columns)})"


def _insert(table: str, columns: Sequence[str]) -> str:
    values = ", ".join(
        f"new.{column}::text[]" if column in _ARRAYS else f"new.{column}" for column in columns
    )
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {_rows_of(columns)}"  # noqa: S608 - names are constants of this module


def _upsert(
    table: str, columns: Sequence[str], key: Sequence[str], fixed: Sequence[str], more: str = ""
) -> str:
    sets = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in {*key, *fixed})
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}{more}"


def _same(alias: str, key: Sequence[str]) -> str:
    return " AND ".join(f"{alias}.{column} = new.{column}" for column in key)


_CONTENT = (
    "id", "title_key", "title_hash", "title_slot", "block_head", "block_tail", "created_at", "updated_at", *FIELDS,
)  # fmt: skip
_OFFERING_KEY = ("content_id", "source", "platform", "region", "availability_type")
_OFFERING = (
    *_OFFERING_KEY, "price_cents", "currency", "video_qualities", "audio_languages", "subtitle_languages",
    "subtitle_formats", "available_from", "available_until", "url", "demo", "first_seen", "last_seen",
)  # fmt: skip
_CREDIT = ("content_id", "role", "position", "name", "character", "external_id")
_RECORD_KEY = ("source", "source_id")
_LINK = ("content_id", "link_reason", "link_confidence", "linked_source", "linked_source_id")
_RECORD = (
    *_RECORD_KEY, *_LINK, "priority", "record", "digest", "pinned", "delisted", "run_id", "first_seen", "seen_at",
)  # fmt: skip
_RELINK = (*_RECORD_KEY, *_LINK, "pinned", "delisted")
_ID = ("id_type", "id_value", "content_id")

_APPENDED = {
    "contents": _CONTENT,
    "external_ids": _ID,
    "source_records": _RECORD,
    "offerings": _OFFERING,
    "credits": _CREDIT,
}
_WRITE_CONTENTS = _upsert("contents", _CONTENT, ("id",), ("created_at",))
_WRITE_OFFERINGS = _upsert("offerings", _OFFERING, _OFFERING_KEY, ("first_seen",), ", ended_at = NULL")
_END_OFFERINGS = f"""
UPDATE offerings o SET ended_at = new.last_seen, last_seen = new.last_seen
FROM {_rows_of((*_OFFERING_KEY, "last_seen"))}
WHERE {_same("o", _OFFERING_KEY)} AND o.content_id = ANY($1::uuid[])
"""  # noqa: S608 - names are constants of this module
_DROP_OFFERINGS = f"""
DELETE FROM offerings o USING {_rows_of(_OFFERING_KEY)}
WHERE {_same("o", _OFFERING_KEY)} AND o.content_id = ANY($1::uuid[])
"""  # noqa: S608 - names are constants of this module
_DROP_CREDITS = "DELETE FROM credits WHERE content_id = ANY($1::uuid[])"
_WRITE_RECORDS = _upsert("source_records", _RECORD, _RECORD_KEY, ("first_seen",))
_RELINK_RECORDS = f"""
UPDATE source_records r SET {", ".join(f"{column} = new.{column}" for column in _RELINK[2:])} FROM {_rows_of(_RELINK)}
WHERE {_same("r", _RECORD_KEY)} AND r.source = ANY($1::text[]) AND r.source_id = ANY($2::text[])
"""  # noqa: S608 - names are constants of this module
# An id that has meanwhile gone to a content that we hold no lock of stays there, and the batch is looked at again.
_MOVE_IDS = f"""
{_upsert("external_ids", _ID, ("id_type", "id_value"), ())} WHERE external_ids.content_id = ANY($4::uuid[])
"""
_DROP_IDS = f"""
DELETE FROM external_ids e USING {_rows_of(_ID[:2])}
WHERE {_same("e", _ID[:2])} AND e.id_type = ANY($1::text[]) AND e.id_value = ANY($2::text[])
AND e.content_id = ANY($3::uuid[])
"""  # noqa: S608 - names are constants of this module
_SEEN = (
    "UPDATE source_records SET seen_at = $3, run_id = $4 WHERE source = $1 AND source_id = ANY($2::text[])"
)
_TAKE_OFFERINGS = """
UPDATE offerings o SET content_id = $2::uuid WHERE o.content_id = ANY($1::uuid[]) AND NOT EXISTS (
    SELECT FROM offerings other WHERE other.content_id = ANY($1::uuid[] || ARRAY[$2::uuid]) AND other.source = o.source
    AND other.platform = o.platform AND other.region = o.region AND other.availability_type = o.availability_type
    AND (other.content_id = $2::uuid OR other.content_id < o.content_id))
"""
_FORGET = (
    "DELETE FROM offerings WHERE content_id = ANY($1::uuid[])",
    "DELETE FROM credits WHERE content_id = ANY($1::uuid[])",
)
_FOLLOW_REDIRECTS = "UPDATE content_redirects SET content_id = $2 WHERE content_id = ANY($1::uuid[])"
_REDIRECT = """
INSERT INTO content_redirects (old_id, content_id, reason, created_at) SELECT gone, $2, $3, $4 FROM unnest($1::uuid[]) gone
"""
_DROP_CONTENTS = "DELETE FROM contents WHERE id = ANY($1::uuid[])"
_SET_REMOVED = "UPDATE contents SET removed_at = $2, updated_at = $3 WHERE id = $1"


async def write_plan(
    connection: DirectConnection, plan: Plan, slots: Mapping[UUID, int], *, run_id: UUID | None, now: datetime
) -> None:
    """Write a plan's rows.

    Parameters
    ----------
    connection
        Transaction that holds the locks of ``plan.involved``.
    plan
        What changes.
    slots
        Title slot of every content of the plan.
    run_id
        The run that brought the records.
    now
        Time of the change, aware UTC.

    Raises
    ------
    StaleReadError
        Another writer has taken one of the ids to a content that is not locked here.
    """
    await _write_contents(connection, plan.contents, slots, now)
    await _write_ids(connection, plan)
    founded = sorted((_record_row(member, run_id, now) for member in plan.founded), key=_record_key)
    await _append(connection, "source_records", founded)
    updated = sorted((_record_row(member, run_id, now) for member in plan.updated), key=_record_key)
    await _execute(connection, _WRITE_RECORDS, updated)
    relinked = sorted((_link_row(member) for member in plan.relinked), key=_record_key)
    await _execute(connection, _RELINK_RECORDS, relinked)
    for change in plan.contents:
        if change.absorbed:
            await _absorb(connection, change, now)
    await _write_offerings(connection, plan.contents, now)
    await _write_credits(connection, plan.contents)


async def mark_seen(
    connection: DirectConnection, source: str, source_ids: Sequence[str], *, run_id: UUID, now: datetime
) -> None:
    """Note that a run saw records that have not changed."""
    if source_ids:
        await connection.execute(_SEEN, source, sorted(source_ids), now, run_id)


async def set_removed(
    connection: DirectConnection, content_id: UUID, removed_at: datetime | None, now: datetime
) -> None:
    """Take a content out of the catalogue, or (None) put it back."""
    await connection.execute(_SET_REMOVED, content_id, removed_at, now)


async def _write_contents(
    connection: DirectConnection, changes: Iterable[ContentChange], slots: Mapping[UUID, int], now: datetime
) -> None:
    new: list[tuple[Any, ...]] = []
    old: list[tuple[Any, ...]] = []
    for change in changes:
        (new if change.old is None else old).append(
            _content_row(change, slots.get(change.content_id, 0), now)
        )
    new.sort(key=_title_order)
    old.sort(key=_title_order)
    await _append(connection, "contents", new)
    await _execute(connection, _WRITE_CONTENTS, old, _CONTENT)


async def _write_ids(connection: DirectConnection, plan: Plan) -> None:
    involved = list(plan.involved)
    if plan.ids_gone:
        kinds, values = zip(*sorted(plan.ids_gone), strict=True)
        await connection.execute(_DROP_IDS, list(kinds), list(values), involved)
    if plan.ids_moved:
        columns = _transposed(sorted(_id_rows(plan.ids_moved)))
        if await connection.execute(_MOVE_IDS, *columns, involved) != len(plan.ids_moved):
            raise StaleReadError
    await _append(connection, "external_ids", sorted(_id_rows(plan.ids_new)))


async def _write_offerings(
    connection: DirectConnection, changes: Sequence[ContentChange], now: datetime
) -> None:
    new: list[tuple[Any, ...]] = []
    shown: list[tuple[Any, ...]] = []
    for change in changes:
        rows = new if change.old is None else shown
        rows.extend(_offering_row(change, key, now) for key in change.shown)
    withdrawn = [(change.content_id, *key) for change in changes for key in change.withdrawn]
    ended = [(change.content_id, *key, now) for change in changes for key in change.ended]
    await _execute(connection, _DROP_OFFERINGS, withdrawn)
    await _execute(connection, _END_OFFERINGS, ended)
    await _append(connection, "offerings", new)
    await _execute(connection, _WRITE_OFFERINGS, shown, _OFFERING)


async def _write_credits(connection: DirectConnection, changes: Sequence[ContentChange]) -> None:
    changed = [change for change in changes if change.old is None or "credits" in change.fields]
    if old := [change.content_id for change in changed if change.old is not None and change.old.credits]:
        await connection.execute(_DROP_CREDITS, old)
    rows = [(change.content_id, *credit) for change in changed for credit in change.new.credits]
    await _append(connection, "credits", rows)


async def _absorb(connection: DirectConnection, change: ContentChange, now: datetime) -> None:
    gone = list(change.absorbed)
    await connection.execute(_TAKE_OFFERINGS, gone, change.content_id)
    for statement in _FORGET:
        await connection.execute(statement, gone)
    await connection.execute(_FOLLOW_REDIRECTS, gone, change.content_id)
    await connection.execute(_REDIRECT, gone, change.content_id, "merged", now)
    await connection.execute(_DROP_CONTENTS, gone)


async def _append(connection: DirectConnection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows that are known not to exist. COPY: encoding them as arrays costs the client five times as much."""
    if rows:
        await connection.copy(table, _APPENDED[table], rows)


async def _execute(
    connection: DirectConnection,
    statement: str,
    rows: Sequence[tuple[Any, ...]],
    columns: Sequence[str] = (),
) -> None:
    """A statement over the rows as arrays, a parameter for each column."""
    if rows:
        arrays = _transposed(rows)
        for index, column in enumerate(columns):
            if column in _ARRAYS:
                arrays[index] = [literals.texts(value) for value in arrays[index]]
        await connection.execute(statement, *arrays)


def _transposed(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _content_row(change: ContentChange, slot: int, now: datetime) -> tuple[Any, ...]:
    title = change.title
    lookup = (title.key, title.title_hash, slot, title.block_head, title.block_tail)
    return (change.content_id, *lookup, now, now, *map(change.new.facts.__getitem__, FIELDS))


def _offering_row(change: ContentChange, key: OfferingKey, now: datetime) -> tuple[Any, ...]:
    offering = change.new.offerings[key]
    return (
        change.content_id, *key, offering.price_cents, offering.currency, offering.video_qualities,
        offering.audio_languages, offering.subtitle_languages, offering.subtitle_formats,
        _instant(offering.available_from), _instant(offering.available_until), offering.url, offering.demo, now, now,
    )  # fmt: skip


def _record_row(member: Member, run_id: UUID | None, now: datetime) -> tuple[Any, ...]:
    return (
        *member.key, *_link(member), member.order[0], member.body.decode(), member.digest,
        member.pin is not None, member.delisted, run_id, now, now,
    )  # fmt: skip


def _link_row(member: Member) -> tuple[Any, ...]:
    return (*member.key, *_link(member), member.pin is not None, member.delisted)


def _link(member: Member) -> tuple[Any, ...]:
    link = member.link
    return (member.content_id, link.reason, link.confidence, *(link.anchor or (None, None)))


def _id_rows(ids: Iterable[tuple[ExactKey, UUID]]) -> list[tuple[str, str, UUID]]:
    return [(*key, content_id) for key, content_id in ids]


def _record_key(row: tuple[Any, ...]) -> tuple[str, str]:
    return row[0], row[1]


def _title_order(row: tuple[Any, ...]) -> int:
    title_hash: int | None = row[2]
    return title_hash or 0


def _instant(moment: datetime | None) -> datetime | None:
    return aware(moment) if moment is not None else None
