"""What others are told of a `Plan`: content events and vector work, as outbox rows. Called by `CatalogueWriter` only.

An event is a hint to read the content again, so consumers may see it late, twice, or after the content is gone.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from media_gateway.core.adapters.postgres import AsyncConnection
from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.domain.content import ContentEventType
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.outbox import EVENTS, enqueue, enqueue_copied, enqueue_events
from media_gateway.ingestion.identity.folding import TEXT_FIELDS, OfferingKey, is_enrichment
from media_gateway.ingestion.identity.plan import ContentChange

SOURCE = "ingestion"
"""Component named in the events."""

VECTORS = "vectors"
"""Outbox destination of vector work; the key is the content id, the body ``{"op": "upsert" | "delete"}``."""

EVERYBODY = frozenset({EVENTS, VECTORS})
"""Both destinations. A job may leave one out, by its manifest's sinks."""

OFFERINGS_LIMIT = 50
"""Most offerings listed in one event; a reader who needs all of them asks the catalogue."""

_DELETE = orjson.dumps({"op": "delete"})
_UPSERT = orjson.dumps({"op": "upsert"})


async def announce(
    connection: DirectConnection,
    changes: Iterable[ContentChange],
    now: datetime,
    told: frozenset[str] = EVERYBODY,
) -> None:
    """Put a plan's events and vector work into the outbox, in the transaction that writes it."""
    rows: list[tuple[str, str, bytes]] = []
    for change in changes:
        rows.extend((EVENTS, event.key, event.to_json()) for event in _events(change, now))
        rows.extend((VECTORS, str(gone), _DELETE) for gone in change.absorbed)
        if _needs_vector(change):
            rows.append((VECTORS, str(change.content_id), _UPSERT))
    await enqueue_copied(connection, [row for row in rows if row[0] in told])


async def announce_removal(
    connection: AsyncConnection, content_id: UUID, now: datetime, *, reason: str
) -> None:
    """Tell that an administrator took a content out."""
    await enqueue_events(
        connection, [_event("content.removed", content_id, now, ["removed_at"], {"reason": reason})]
    )
    await enqueue(connection, VECTORS, [(str(content_id), _DELETE)])


async def announce_return(connection: AsyncConnection, content_id: UUID, now: datetime) -> None:
    """Tell that a removed content is back."""
    await enqueue_events(connection, [_event("content.updated", content_id, now, ["removed_at"])])
    await enqueue(connection, VECTORS, [(str(content_id), _UPSERT)])


def _events(change: ContentChange, now: datetime) -> Iterator[Event]:
    if change.old is None:
        yield _event("content.ingested", change.content_id, now, [], {"sources": change.new.facts["sources"]})
        return
    for gone in change.absorbed:
        yield _event("content.merged", change.content_id, now, change.fields, {"merged_id": str(gone)})
    if change.fields:
        enriched = is_enrichment(change.old, change.fields)
        kind: ContentEventType = "content.metadata_enriched" if enriched else "content.updated"
        yield _event(kind, change.content_id, now, change.fields)
    if change.offerings_changed:
        gone_keys = [*change.ended, *change.withdrawn]
        offerings = [_offering(change, key, is_available=True) for key in change.shown]
        offerings += [_offering(change, key, is_available=False) for key in gone_keys]
        more = {"offerings": offerings[:OFFERINGS_LIMIT], "offerings_changed": len(offerings)}
        yield _event("content.availability_changed", change.content_id, now, ["offerings"], more)


def _event(
    kind: ContentEventType,
    content_id: UUID,
    now: datetime,
    changes: list[str],
    more: dict[str, Any] | None = None,
) -> Event:
    data = {"content_id": str(content_id), "updated_at": now, "changes": changes, **(more or {})}
    return Event(
        topic=Topic.CONTENT, type=kind, key=str(content_id), data=data, source=SOURCE, occurred_at=now
    )


def _offering(change: ContentChange, key: OfferingKey, *, is_available: bool) -> dict[str, Any]:
    source, platform, region, availability_type = key
    return {
        "source": source,
        "platform": platform,
        "region": region,
        "availability_type": availability_type,
        "was_available": change.old is not None and key in change.old.offerings,
        "is_available": is_available,
    }


def _needs_vector(change: ContentChange) -> bool:
    """Whether the embedded text or the payload that filters use (platforms) may differ."""
    if change.old is None or not TEXT_FIELDS.isdisjoint(change.fields):
        return True
    return change.offerings_changed and change.old.platforms() != change.new.platforms()
