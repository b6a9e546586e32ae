"""Writing side of the outbox (one statement a call, in the caller's transaction), and the handler for events."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA
from sqlalchemy.ext.asyncio import AsyncConnection

from media_gateway.core.adapters.postgres.direct import DirectConnection
from media_gateway.core.domain.events import Event
from media_gateway.core.errors import InvalidInputError
from media_gateway.core.outbox.delivery import Handler
from media_gateway.core.outbox.rows import OutboxRow
from media_gateway.core.outbox.wake import wake
from media_gateway.core.ports.events import EventBus

EVENTS = "events"
"""Destination of events for the bus."""

_INSERT = sa.text(
    "INSERT INTO outbox (destination, key, body) "
    "SELECT :destination, item.key, item.body FROM unnest(:keys, :bodies) AS item (key, body)"
).bindparams(
    sa.bindparam("destination", type_=sa.Text()),
    sa.bindparam("keys", type_=ARRAY(sa.Text())),
    sa.bindparam("bodies", type_=ARRAY(BYTEA())),
)


async def enqueue_events(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Put events into the outbox; they go to the bus once the caller's transaction is committed.

    Call it after the statements that lock or change the state of the keys: two transactions that change the same key
    then draw their row numbers in the order in which they commit, and consumers see that order.
    """
    await enqueue(connection, EVENTS, [(event.key, event.to_json()) for event in events])


async def enqueue(connection: AsyncConnection, destination: str, items: Sequence[tuple[str, bytes]]) -> None:
    """Put rows for any destination into the outbox, in the order given.

    Parameters
    ----------
    connection
        The open transaction of the change.
    destination
        Name under which `OutboxRelay` has a handler.
    items
        Pairs of key (rows of one key stay in order) and body.
    """
    if not items:
        return
    keys, bodies = zip(*items, strict=True)
    wake(connection.engine)
    await connection.execute(
        _INSERT, {"destination": destination, "keys": list(keys), "bodies": list(bodies)}
    )


async def enqueue_copied(connection: DirectConnection, rows: Sequence[tuple[str, str, bytes]]) -> None:
    """Put many rows (destination, key, body) into the outbox, in the order given: what bulk writers use."""
    if rows:
        wake(connection.connection.engine)
        await connection.copy("outbox", ("destination", "key", "body"), rows)


def publish_to(bus: EventBus) -> Handler:
    """Handler of the destination ``EVENTS``: publishes on a bus."""

    async def publish(rows: Sequence[OutboxRow]) -> None:
        try:
            events = [Event.from_json(row.body) for row in rows]
        except ValueError as error:
            raise InvalidInputError(str(error)) from error
        await bus.publish(events)

    return publish
