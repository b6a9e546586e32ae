"""One batch within one transaction: find what it concerns, lock it, plan, write. `CatalogueWriter` repeats it as needed.

Why no two writers make twins, and none waits for the other for ever
---------------------------------------------------------------------
Everything known of a content (its records, their exact ids, its title slot) is changed only by a transaction that holds
the lock of its row. So a batch

1. looks its records and exact ids up, without a lock;
2. locks the contents found, in the order of their ids, and then reads their records: from now on they stand still;
3. asks for contents of comparable title, and locks those too, without waiting if it holds locks already;
4. plans in memory, and writes.

What it found absent can't be locked; there the unique indexes decide: of two writers that insert the same exact id, the
same record or the same slot of a title, one waits for the other and then fails. Whatever turns out to have changed
between look-up and write (a content gone, an id moved, a unique violation, a deadlock) raises `StaleReadError`: the whole
transaction is undone and the batch looks again, and now sees the other writer's work. Locks are taken in one order
(contents by id; then titles, exact ids and records, each sorted), so writers queue; the rare cycle is found by Postgres and
ends as a repeat. A fuzzy title or an embedding is no key that could collide: two writers that bring two spellings of one
new work at the same moment make two contents.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.ingestion.identity.keys import ExactKey
from media_gateway.ingestion.identity.plan import Known, Plan, arrive, make_plan
from media_gateway.ingestion.identity.records import Member, is_outdated
from media_gateway.ingestion.identity.resolution import Near, similarity
from media_gateway.ingestion.services.catalogue_events import EVERYBODY, announce
from media_gateway.ingestion.store import catalogue_read as read, catalogue_write as write
from media_gateway.ingestion.store.refusals import RefusedError, StaleReadError, refusals


@dataclass(slots=True)
class Batch:
    """What is written together.

    Attributes
    ----------
    source : str
        Source of all records.
    run_id : UUID
        Run that brings them.
    near : Mapping
        For records that bring an embedding.
    lock_first : set of UUID
        Contents that an earlier try found concerned only after it held other locks.
    told : frozenset
        Outbox destinations that are told of the changes.
    """

    source: str
    run_id: UUID
    near: Near = field(default_factory=dict)
    lock_first: set[UUID] = field(default_factory=set)
    told: frozenset[str] = EVERYBODY


@dataclass(slots=True)
class Outcome:
    """What became of a batch's records, by source id."""

    content_ids: dict[str, UUID] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    unchanged: set[str] = field(default_factory=set)

    def add(self, other: "Outcome") -> None:
        """Add another part of the batch."""
        self.content_ids |= other.content_ids
        self.created |= other.created
        self.unchanged |= other.unchanged


@dataclass(slots=True)
class Held:
    """Contents locked by this transaction, and all their records."""

    contents: dict[UUID, read.LockedContent] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    slots: dict[int, int] = field(default_factory=dict)
    """Highest slot of every title hash asked for, -1 where it is free."""


async def write_batch(connection: DirectConnection, arriving: Sequence[Member], batch: Batch) -> Outcome:
    """Write records of one source, each source id at most once.

    Raises
    ------
    StaleReadError
        Undo the transaction (or savepoint) and call again.
    """
    now = datetime.now(UTC)
    await read.settle_plans(connection)
    ids = [member.record.source_id for member in arriving]
    keys = sorted({key for member in arriving for key in member.ids})
    found = await read.look_up(connection, batch.source, ids, keys)
    outcome = Outcome()
    changed: list[Member] = []
    for member in arriving:
        source_id = member.record.source_id
        stored = found.records.get(source_id)
        if stored is not None and stored.digest == member.digest and not stored.delisted:
            outcome.unchanged.add(source_id)
            outcome.content_ids[source_id] = stored.content_id
        else:
            changed.append(member)
    if changed:
        await _write_changed(connection, changed, found, batch, outcome)
    await write.mark_seen(connection, batch.source, sorted(outcome.unchanged), run_id=batch.run_id, now=now)
    return outcome


async def write_apart(
    connection: DirectConnection, arriving: Sequence[Member], batch: Batch, outcome: Outcome
) -> dict[str, str]:
    """Write what the database takes of a batch it refused as a whole: halves, each behind a savepoint.

    Returns
    -------
    dict
        Reason by source id of each record that is refused by itself.
    """
    try:
        async with connection.connection.begin_nested():
            with refusals():
                outcome.add(await write_batch(connection, arriving, batch))
    except RefusedError as error:
        if len(arriving) == 1:
            return {arriving[0].record.source_id: str(error)}
        middle = len(arriving) // 2
        refused = await write_apart(connection, arriving[:middle], batch, outcome)
        return refused | await write_apart(connection, arriving[middle:], batch, outcome)
    return {}


async def hold(connection: DirectConnection, content_ids: Iterable[UUID]) -> Held:
    """Lock contents and read their records; what does not exist is left out."""
    wanted = list(content_ids)
    if not wanted:
        return Held()
    contents = await read.lock(connection, wanted)
    return Held(contents, await read.members_of(connection, contents))


async def write_changes(
    connection: DirectConnection,
    plan: Plan,
    held: Held,
    run_id: UUID | None,
    told: frozenset[str] = EVERYBODY,
) -> None:
    """Write a plan with its events.

    Raises
    ------
    StaleReadError
        Undo the transaction and plan again.
    """
    now = datetime.now(UTC)
    await write.write_plan(connection, plan, await _slots(connection, plan, held), run_id=run_id, now=now)
    visible = (
        change for change in plan.contents if change.absorbed or not _is_removed(held, change.content_id)
    )
    await announce(connection, visible, now, told)


async def _write_changed(
    connection: DirectConnection, changed: Sequence[Member], found: read.Found, batch: Batch, outcome: Outcome
) -> None:
    owners = {key: found.owners[key] for member in changed for key in member.ids if key in found.owners}
    homes = {
        stored.content_id for member in changed if (stored := found.records.get(member.record.source_id))
    }
    required = homes | set(owners.values())
    near = {content_id for contents in batch.near.values() for content_id, _ in contents}
    held = await hold(connection, required | near | batch.lock_first)
    if not required <= held.contents.keys():
        raise StaleReadError
    arrivals = _arrivals(changed, found, held, outcome)
    await _hold_similar(connection, arrivals, owners, held)
    removed = frozenset(content_id for content_id, content in held.contents.items() if content.removed)
    plan = make_plan(Known(held.members, owners, removed), arrivals, batch.near)
    await write_changes(connection, plan, held, batch.run_id, batch.told)
    for member in arrivals:
        assert member.content_id is not None
        outcome.content_ids[member.record.source_id] = member.content_id
        if not member.is_stored:
            outcome.created.add(member.record.source_id)


def _arrivals(changed: Sequence[Member], found: read.Found, held: Held, outcome: Outcome) -> list[Member]:
    stored = {member.key: member for member in held.members}
    arrivals = []
    for member in changed:
        before = stored.get(member.key)
        if (before is not None) != (member.record.source_id in found.records):
            raise StaleReadError
        if before is not None and is_outdated(member.record, before.record):
            # Delivered late; what it proves is that the source lists the record.
            outcome.unchanged.add(member.record.source_id)
            arrivals.append(replace(before, delisted=False))
        else:
            arrivals.append(arrive(member, before))
    return arrivals


async def _hold_similar(
    connection: DirectConnection, arrivals: Sequence[Member], owners: Mapping[ExactKey, UUID], held: Held
) -> None:
    """Lock contents whose title is equal or similar to that of a record that no exact id places."""
    unplaced = [
        member
        for member in arrivals
        if member.loose
        and member.title.title_hash is not None
        and (member.is_stored or not any(key in owners for key in member.ids))
    ]
    if not unplaced:
        return
    held.slots = {member.title.title_hash: -1 for member in unplaced if member.title.title_hash is not None}
    wanted: set[UUID] = set()
    for candidate in await read.title_candidates(connection, [member.title for member in unplaced]):
        title_hash = candidate.title.title_hash
        if title_hash in held.slots:
            held.slots[title_hash] = max(held.slots[title_hash], candidate.slot)
        alike = not candidate.removed and similarity(unplaced[candidate.probe].title, candidate.title)
        if alike and candidate.content_id not in held.contents:
            wanted.add(candidate.content_id)
    if not wanted:
        return
    locked = await read.lock(connection, wanted, wait=not held.contents)
    if len(locked) < len(wanted):
        raise StaleReadError(wanted)
    held.contents.update(locked)
    held.members += await read.members_of(connection, locked)


async def _slots(connection: DirectConnection, plan: Plan, held: Held) -> dict[UUID, int]:
    """Title slot of each content of a plan: its own, or the next free one where the title is new to it."""
    retitled = [change.title.title_hash for change in plan.contents if change.retitled]
    unknown = {
        title_hash for title_hash in retitled if title_hash is not None and title_hash not in held.slots
    }
    highest = dict(held.slots)
    if unknown:
        highest |= dict.fromkeys(unknown, -1) | await read.highest_slots(connection, sorted(unknown))
    slots: dict[UUID, int] = {}
    for change in plan.contents:
        title_hash = change.title.title_hash
        if not change.retitled:
            slots[change.content_id] = held.contents[change.content_id].slot
        elif title_hash is not None:
            highest[title_hash] += 1
            slots[change.content_id] = highest[title_hash]
    return slots


def _is_removed(held: Held, content_id: UUID) -> bool:
    content = held.contents.get(content_id)
    return content is not None and content.removed
