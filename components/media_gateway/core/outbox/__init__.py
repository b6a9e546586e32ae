"""State change and outgoing event, committed together; a relay hands the events on.

A writer calls `enqueue_events` (or `enqueue` for another destination) in the transaction that changes the state, after
the change. `OutboxRelay` delivers each row at least once and in order per key; `publish_to` is its handler for events.
"""

from media_gateway.core.outbox.delivery import Handler
from media_gateway.core.outbox.enqueue import EVENTS, enqueue, enqueue_copied, enqueue_events, publish_to
from media_gateway.core.outbox.relay import OutboxRelay, RelayPolicy
from media_gateway.core.outbox.rows import OutboxRow, requeue_rejected

__all__ = [
    "EVENTS",
    "Handler",
    "OutboxRelay",
    "OutboxRow",
    "RelayPolicy",
    "enqueue",
    "enqueue_copied",
    "enqueue_events",
    "publish_to",
    "requeue_rejected",
]
