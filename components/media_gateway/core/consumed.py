"""What a consumer has already done, for effects that must not happen twice.

Delivery is at least once. A consumer whose effect can be repeated (it re-reads the database, it sets a value) needs none
of this; one whose effect can't (it counts, it sends) asks `not_yet_consumed` in the transaction of the effect.
"""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

_MARK = sa.text(
    "INSERT INTO consumed_events (consumer, event_id) SELECT :consumer, unnest(:ids) "
    "ON CONFLICT DO NOTHING RETURNING event_id"
).bindparams(sa.bindparam("ids", type_=ARRAY(sa.Uuid())))


async def not_yet_consumed(
    connection: AsyncConnection, consumer: str, event_ids: Sequence[UUID]
) -> set[UUID]:
    """Those of the events that this consumer has not done yet; from now on they count as done.

    Another transaction that asks for the same event waits until this one ends, so exactly one of them gets it. The
    relay forgets ids after its ``consumed_retention``.

    Parameters
    ----------
    connection
        The open transaction of the effect: if it is rolled back, the events are not done.
    consumer
        Name of the effect, the same in all processes.
    event_ids
        Ids of the events at hand.
    """
    if not event_ids:
        return set()
    # In one order everywhere, so that two transactions never wait for each other.
    ids = sorted(set(event_ids))
    return set((await connection.execute(_MARK, {"consumer": consumer, "ids": ids})).scalars())
