"""The relays of what ingestion leaves in the outbox: events and dead letters to the bus, changed contents to the vectors.

The service runs them for as long as it lives; ``media-gateway ingest run`` drains them at its end.
"""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import orjson

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import InvalidInputError
from media_gateway.core.outbox import EVENTS, Handler, OutboxRelay, OutboxRow, RelayPolicy, publish_to
from media_gateway.core.ports.events import EventBus
from media_gateway.ingestion.runs import DeadLetter
from media_gateway.ingestion.store_runs import DEAD_LETTERS

REJECTED = "ingestion.record_rejected"


def events_relay(database: Database, bus: EventBus, policy: RelayPolicy) -> OutboxRelay:
    """Carries content events and dead letters to the bus."""
    return OutboxRelay(database, {EVENTS: publish_to(bus), DEAD_LETTERS: publish_dead_letters(bus)}, policy)


def dead_letter_row(run_id: UUID, letter: DeadLetter, topic: str) -> tuple[str, bytes]:
    """Outbox row that carries a dead letter to its topic."""
    data = {
        name: getattr(letter, name)
        for name in ("line", "position", "source_id", "field", "reason", "excerpt")
    }
    event = Event(
        topic=cast("Topic", topic),
        type=REJECTED,
        key=str(run_id),
        data={"run_id": str(run_id), **data},
        source="ingestion",
    )
    return event.key, event.to_json()


def publish_dead_letters(bus: EventBus) -> Handler:
    """Handler of `DEAD_LETTERS`. The topic is the job's own: no consumer of the platform reads it."""

    async def publish(rows: Sequence[OutboxRow]) -> None:
        try:
            await bus.publish([_event(row.body) for row in rows])
        except (KeyError, ValueError) as error:
            raise InvalidInputError(f"not a dead letter: {error}") from error

    return publish


def _event(body: bytes) -> Event:
    raw = orjson.loads(body)
    # The envelope as it was written, but for a topic that is not of the platform's list.
    known = Event.from_json(orjson.dumps({**raw, "topic": Topic.CONTENT.value}))
    return Event(
        topic=cast("Topic", raw["topic"]),
        type=known.type,
        key=known.key,
        data=known.data,
        source=known.source,
        event_id=known.event_id,
        occurred_at=known.occurred_at,
    )
