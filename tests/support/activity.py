"""Events about what people do with contents, and what the counts of them are, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prometheus_client import REGISTRY

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.domain.events import Event, Topic
from media_gateway.discovery.activity import WORLD
from media_gateway.discovery.activity_feed import ActivityFeed
from media_gateway.discovery.decay import HALF_LIVES, Window, count
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.store.activity import ActivityStore
from tests.support.search_rows import rows

KEY = b"a key of the tests, which is at least as long as it must be"
KEPT = timedelta(days=7)


def clicked(content_id: UUID, person: str = "user-1", *, at: datetime | None = None, **data: Any) -> Event:
    """A user's click, as discovery publishes it."""
    return told("search.clicked", content_id, person, at=at, **{"anonymous": False, "position": 1} | data)


def told(
    kind: str, content_id: UUID | str, person: str = "user-1", *, at: datetime | None = None, **data: Any
) -> Event:
    """An event of any type about a content."""
    return Event(
        topic=Topic.PLAYBACK if kind.startswith("playback") else Topic.ACTIVITY,
        type=kind,
        key=person,
        data={"content_id": str(content_id)} | data,
        source="test",
        occurred_at=at or datetime.now(UTC),
    )


async def counts(database: Database, window: Window = Window.MONTH, region: str = WORLD) -> dict[UUID, float]:
    """Decayed counts now, to two digits."""
    found = await rows(
        database,
        f"SELECT content_id, {window}_level AS level FROM content_activity WHERE region = :region",
        region=region,
    )
    now = datetime.now(UTC)
    return {
        UUID(str(row.content_id)): round(count(row.level, now, HALF_LIVES[window]), 2) + 0.0 for row in found
    }


def outcome(name: str) -> float:
    """How many events have had an outcome in this process."""
    return REGISTRY.get_sample_value("mgw_activity_events_total", {"outcome": name}) or 0.0


def activity_store(database: Database) -> ActivityStore:
    """The store with the tests' key."""
    return ActivityStore(database, Pseudonyms(KEY))


@asynccontextmanager
async def counting(database: Database, redis: RedisHandle) -> AsyncIterator[ActivityFeed]:
    """A replica's consumer, until the end of the block."""
    bus = RedisStreamBus(redis)
    feed = ActivityFeed(activity_store(database), bus, max_age=KEPT)
    task = asyncio.create_task(feed.follow())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.wait([task])
        await bus.close()
