"""Changes of the catalogue that no arriving record causes: records that went unlisted, an administrator's merge or split.

Called by `CatalogueWriter`, each function within one transaction that it undoes and repeats on `StaleReadError`.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from uuid import UUID

from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.errors import NotFoundError
from media_gateway.ingestion.identity.plan import Known, make_plan
from media_gateway.ingestion.identity.records import Member, RecordKey
from media_gateway.ingestion.services.catalogue_batch import Held, hold, write_changes
from media_gateway.ingestion.store import catalogue_read as read
from media_gateway.ingestion.store.refusals import StaleReadError, refusals

PAGE = 200
"""Records delisted in one transaction: few enough to hold no content for long."""


async def delist_unseen(connection: DirectConnection, source: str, run_id: UUID, after: str) -> list[str]:
    """Delist the next records, by source id, that a run did not see; returns their ids, fewer than `PAGE` at the end."""
    with refusals():
        await read.settle_plans(connection)
        page = await read.unseen(connection, source, run_id, after=after, limit=PAGE)
        homes = {content_id for _, content_id in page}
        held = await hold(connection, homes)
        if not homes <= held.contents.keys():
            raise StaleReadError
        unseen = {(source, source_id) for source_id, _ in page}
        changed = [replace(member, delisted=True) for member in held.members if member.key in unseen]
        await _write(connection, held, changed)
    return [source_id for source_id, _ in page]


async def hold_all(connection: DirectConnection, content_ids: Collection[UUID]) -> Held:
    """Lock contents that an administrator named.

    Raises
    ------
    NotFoundError
        One of them does not exist.
    """
    with refusals():
        await read.settle_plans(connection)
        held = await hold(connection, content_ids)
    for content_id in content_ids:
        if content_id not in held.contents:
            raise NotFoundError(f"there is no content {content_id}")
    return held


async def pin(connection: DirectConnection, held: Held, places: Mapping[RecordKey, UUID]) -> None:
    """Move records to the contents an administrator chose, where they stay whatever their ids say."""
    with refusals():
        await _write(connection, held, [replace(member, pin=places[member.key]) for member in held.members])


async def _write(connection: DirectConnection, held: Held, changed: list[Member]) -> None:
    removed = frozenset(content_id for content_id, content in held.contents.items() if content.removed)
    plan = make_plan(Known(held.members, removed=removed), changed)
    # No run saw these records: only their link and state are written.
    plan.relinked, plan.updated = [*plan.relinked, *plan.updated], []
    await write_changes(connection, plan, held, None)
