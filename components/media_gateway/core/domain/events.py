"""The envelope every event travels in, and the topics of the platform.

Producers build an `Event` and hand it to the outbox in the transaction that changes the state; the relay carries it to
the bus; consumers are idempotent on ``event_id``. The JSON form has CloudEvents 1.0 attribute meanings with our names.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

import orjson

from media_gateway.core.domain.ids import uuid7


class Topic(StrEnum):
    """One topic a family; the event type stands in the envelope, so order per key holds across types."""

    CONTENT = "media-gateway.content"
    PLAYBACK = "media-gateway.playback"
    ACTIVITY = "media-gateway.activity"
    USER = "media-gateway.user"


SCHEMA_VERSION = 1
"""Version of the envelope's shape; consumers ignore members they don't know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes
    ----------
    topic : Topic
        Family the event belongs to.
    type : str
        What happened, dotted (``content.updated``).
    key : str
        User or content id; events of one key are delivered in order.
    data : dict
        JSON-serialisable body of the type.
    source : str
        Component that says so.
    event_id : UUID
        Version 7; consumers drop an id they have seen.
    occurred_at : datetime
        Aware UTC.
    traceparent : str | None
        W3C trace context of the request that caused it.
    """

    topic: Topic
    type: str
    key: str
    data: dict[str, Any]
    source: str
    event_id: UUID = field(default_factory=uuid7)
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    traceparent: str | None = None

    def to_json(self) -> bytes:
        """UTF-8 JSON of the envelope."""
        return orjson.dumps(
            {
                "event_id": self.event_id,
                "type": self.type,
                "topic": self.topic,
                "key": self.key,
                "source": self.source,
                "occurred_at": self.occurred_at,
                "schema_version": SCHEMA_VERSION,
                "traceparent": self.traceparent,
                "data": self.data,
            },
            option=orjson.OPT_NON_STR_KEYS,
        )

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Read an envelope.

        Raises
        ------
        ValueError
            The body is not an envelope of ours (not JSON, a member missing or of a wrong type).
        """
        try:
            raw = orjson.loads(body)
            return cls(
                topic=Topic(raw["topic"]),
                type=str(raw["type"]),
                key=str(raw["key"]),
                data=dict(raw["data"]),
                source=str(raw["source"]),
                event_id=UUID(raw["event_id"]),
                occurred_at=datetime.fromisoformat(raw["occurred_at"]),
                traceparent=raw.get("traceparent"),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not an event envelope: {error}") from error
