"""What identity resolution reads. Called by `CatalogueWriter` inside its transaction; decides nothing.

Every statement takes arrays and probes an index per element. Prepared statements keep a generic plan, and one made while
a table was empty would scan it for ever: so `settle_plans` has to come first in the transaction, and what is joined to an
array is either bounded by ``= ANY`` or stands in a lateral subquery with a LIMIT, which leaves the planner no other way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.domain.content import LinkReason
from media_gateway.ingestion.identity.keys import ExactKey, TitleKeys, exact_keys, title_keys
from media_gateway.ingestion.identity.records import Link, Member, parse_record
from media_gateway.ingestion.store import literals

_SETTLE_PLANS = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
    "set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"
)

_LOOK_UP = """
SELECT true, source_id, NULL, content_id, digest, delisted FROM source_records
WHERE source = $1 AND source_id = ANY($2::text::text[])
UNION ALL
SELECT false, e.* FROM unnest($3::text::text[], $4::text::text[]) AS wanted (id_type, id_value)
CROSS JOIN LATERAL (
    SELECT id_type, id_value, content_id, NULL::bytea, NULL::boolean FROM external_ids
    WHERE id_type = wanted.id_type AND id_value = wanted.id_value LIMIT 1
) e
"""

# At most this many candidates come back for one block of a title; letters that more titles begin with tell nothing.
_BLOCK_LIMIT = 200

# Lengths are compared here already: a title needs more edits than the similarity allows if they differ by more than 15 %.
_TITLES = f"""
SELECT wanted.n, c.id, c.title_key, c.release_year, c.title_hash, c.title_slot, c.removed_at IS NOT NULL
FROM unnest($1::text::int[], $2::text::bigint[]) AS wanted (n, title_hash)
CROSS JOIN LATERAL (SELECT * FROM contents WHERE title_hash = wanted.title_hash LIMIT 1000) c
UNION ALL
SELECT wanted.n, c.* FROM unnest($3::text::int[], $4::text::bigint[], $5::text::int[], $6::text::int[]) AS wanted (n, block, year, length)
CROSS JOIN LATERAL (
    SELECT id, title_key, release_year, title_hash, title_slot, false FROM contents
    WHERE block_head = wanted.block AND release_year BETWEEN wanted.year - 1 AND wanted.year + 1
    AND removed_at IS NULL AND abs(length(replace(title_key, ' ', '')) - wanted.length) <= wanted.length * 0.18
    LIMIT {_BLOCK_LIMIT}
) c
UNION ALL
SELECT wanted.n, c.* FROM unnest($7::text::int[], $8::text::bigint[], $9::text::int[], $10::text::int[]) AS wanted (n, block, year, length)
CROSS JOIN LATERAL (
    SELECT id, title_key, release_year, title_hash, title_slot, false FROM contents
    WHERE block_tail = wanted.block AND release_year BETWEEN wanted.year - 1 AND wanted.year + 1
    AND removed_at IS NULL AND abs(length(replace(title_key, ' ', '')) - wanted.length) <= wanted.length * 0.18
    LIMIT {_BLOCK_LIMIT}
) c
"""  # noqa: S608 - the limit is a constant of this module

_SLOTS = """
SELECT title_hash, max(title_slot) FROM contents WHERE title_hash = ANY($1::bigint[]) GROUP BY title_hash
"""

_LOCK = """
SELECT id, title_slot, removed_at IS NOT NULL FROM contents WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
"""
_TRY_LOCK = _LOCK + " SKIP LOCKED"

_MEMBERS = """
SELECT content_id, priority, record::text, digest, link_reason, link_confidence, linked_source, linked_source_id,
pinned, delisted FROM source_records WHERE content_id = ANY($1::uuid[])
"""

_UNSEEN = """
SELECT source_id, content_id FROM source_records
WHERE source = $1 AND source_id > $2 AND run_id IS DISTINCT FROM $3::uuid AND NOT delisted
ORDER BY source_id LIMIT $4
"""

_REDIRECT = "SELECT content_id FROM content_redirects WHERE old_id = $1"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """Where a record is and what it was made of, without reading it."""

    content_id: UUID
    digest: bytes
    delisted: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What the catalogue already has of a batch: records by source id, contents by exact id."""

    records: dict[str, StoredRecord]
    owners: dict[ExactKey, UUID]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A content that the title of one probe may be equal to.

    Attributes
    ----------
    probe : int
        Index of the title it was found for.
    content_id : UUID
        The content.
    title : TitleKeys
        Its title.
    slot : int
        Its place among contents of one title hash.
    removed : bool
        Taken out by an administrator: keeps its slot, takes no more records.
    """

    probe: int
    content_id: UUID
    title: TitleKeys
    slot: int
    removed: bool


@dataclass(frozen=True, slots=True)
class LockedContent:
    """What a content row says that its records don't."""

    slot: int
    removed: bool


async def settle_plans(connection: DirectConnection) -> None:
    """Have the statements of this transaction planned as index probes, however small the tables are now."""
    await connection.fetch(_SETTLE_PLANS)


async def look_up(
    connection: DirectConnection, source: str, source_ids: Sequence[str], keys: Iterable[ExactKey]
) -> Found:
    """Find records of one source by id, and contents by exact ids. Locks nothing."""
    pairs = list(keys)
    kinds, values = [kind for kind, _ in pairs], [value for _, value in pairs]
    found = await connection.fetch(_LOOK_UP, source, *map(literals.texts, (source_ids, kinds, values)))
    records: dict[str, StoredRecord] = {}
    owners: dict[ExactKey, UUID] = {}
    for is_record, name, value, content_id, digest, delisted in found:
        if is_record:
            records[name] = StoredRecord(content_id, digest, delisted)
        else:
            owners[name, value] = content_id
    return Found(records, owners)


async def title_candidates(connection: DirectConnection, titles: Sequence[TitleKeys]) -> list[Candidate]:
    """Contents whose title is equal or may be similar to one of these (all comparable). Locks nothing."""
    heads: list[tuple[int, ...]] = []
    tails: list[tuple[int, ...]] = []
    for index, title in enumerate(titles):
        for probes, blocks in zip((heads, tails), title.probes(), strict=True):
            probes.extend((index, block, title.year or 0, len(title.compact)) for block in blocks)
    hashes = [(index, title.title_hash or 0) for index, title in enumerate(titles)]
    columns = (*_columns(hashes, 2), *_columns(heads, 4), *_columns(tails, 4))
    found = await connection.fetch(_TITLES, *map(literals.numbers, columns))
    return [
        Candidate(probe, content_id, _stored_title(key, year, title_hash, titles[probe].scope), slot, removed)
        for probe, content_id, key, year, title_hash, slot, removed in found
    ]


async def highest_slots(connection: DirectConnection, title_hashes: Sequence[int]) -> dict[int, int]:
    """Highest taken slot of each title hash that is in use."""
    found = await connection.fetch(_SLOTS, list(title_hashes))
    return {title_hash: slot for title_hash, slot in found}  # noqa: C416 - dict() does not take rows


async def lock(
    connection: DirectConnection, content_ids: Iterable[UUID], *, wait: bool = True
) -> dict[UUID, LockedContent]:
    """Lock contents in the order of their ids; those that are gone (or, without waiting, taken) are left out."""
    statement = _LOCK if wait else _TRY_LOCK
    found = await connection.fetch(statement, list(content_ids))
    return {content_id: LockedContent(slot, removed) for content_id, slot, removed in found}


async def members_of(connection: DirectConnection, content_ids: Iterable[UUID]) -> list[Member]:
    """All records of these contents. A statement after `lock`, so that it sees what the last holder wrote."""
    found = await connection.fetch(_MEMBERS, list(content_ids))
    return [_member(row) for row in found]


async def unseen(
    connection: DirectConnection, source: str, run_id: UUID, *, after: str, limit: int
) -> list[tuple[str, UUID]]:
    """Source id and content of listed records that a run did not see, in the order of the source id."""
    found = await connection.fetch(_UNSEEN, source, after, run_id, limit)
    return [(source_id, content_id) for source_id, content_id in found]


async def redirect(connection: DirectConnection, content_id: UUID) -> UUID | None:
    """The content that a given one was merged into, None if it was not."""
    found = await connection.fetch(_REDIRECT, content_id)
    return found[0][0] if found else None


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> Sequence[Iterable[int]]:
    return list(zip(*rows, strict=True)) or [()] * width


def _stored_title(key: str, year: int | None, title_hash: int | None, scope: str) -> TitleKeys:
    return TitleKeys(key, key.replace(" ", ""), scope, year, title_hash, None, None)


def _member(row: Any) -> Member:
    content_id, priority, body, digest, reason, confidence, source, source_id, pinned, delisted = row
    record = parse_record(body)
    key = (record.source, record.source_id)
    return Member(
        record=record,
        key=key,
        order=(priority, key),
        body=body.encode(),
        digest=digest,
        ids=exact_keys(record),
        title=title_keys(record),
        content_id=content_id,
        link=Link(LinkReason(reason), round(confidence, 4), (source, source_id) if source else None),
        pin=content_id if pinned else None,
        delisted=delisted,
        is_stored=True,
    )
