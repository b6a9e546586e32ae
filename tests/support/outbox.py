"""A handler for the outbox that remembers and fails as told, and what tests ask an outbox."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa
from prometheus_client import REGISTRY

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.outbox import (
    Handler,
    OutboxRelay,
    OutboxRow,
    RelayPolicy,
    enqueue,
)
from media_gateway.core.outbox.rows import backlog
from media_gateway.core.retry import RetryPolicy

QUICK = RelayPolicy(
    batch_size=50, handler_timeout_ms=2_000, backoff=RetryPolicy(0, 5, 20), unexpected_tries=3, observe_s=0.05
)


class Sink:
    """A handler that remembers, and fails as told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.by_key: dict[str, list[int]] = defaultdict(list)
        self.calls = 0
        self.fail: Callable[[Sequence[OutboxRow]], Exception | None] = lambda rows: None

    async def __call__(self, rows: Sequence[OutboxRow]) -> None:
        self.calls += 1
        if error := self.fail(rows):
            raise error
        for row in rows:
            self.bodies.append(row.body)
            number = int(row.body)
            if number not in self.by_key[row.key]:
                self.by_key[row.key].append(number)


@asynccontextmanager
async def running(
    database: Database, handler: Handler, policy: RelayPolicy = QUICK
) -> AsyncIterator[OutboxRelay]:
    relay = OutboxRelay(database, {"test": handler}, policy)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.wait([task])


async def put(database: Database, *items: tuple[str, int]) -> None:
    async with database.transaction() as connection:
        await enqueue(connection, "test", [(key, str(number).encode()) for key, number in items])


async def rejected(database: Database) -> list[tuple[str, str]]:
    async with database.transaction() as connection:
        found = await connection.execute(sa.text("SELECT body, reason FROM outbox_rejected ORDER BY id"))
        return [(bytes(body).decode(), reason) for body, reason in found]


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name, {"destination": "test"}) or 0.0


async def is_empty(database: Database) -> bool:
    return (await backlog(database, "test")).rows == 0
