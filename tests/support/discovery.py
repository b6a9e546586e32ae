"""Discovery on a port with the real bus and outbox relay beside it, for tests through its public door."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.outbox import EVENTS, OutboxRelay, publish_to
from media_gateway.core.web import start_component
from media_gateway.discovery.app import COMPONENT
from media_gateway.discovery.settings import Settings
from tests.support.models import CACHE
from tests.support.waiting import eventually

SECRET = "a secret of the tests, at least thirty-two bytes long"


class Discovery:
    """A client of a running discovery."""

    def __init__(self, url: str, session: ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.get(self.url + path, **options) as response:
            return response.status, await response.json(content_type=None)

    async def search(self, query: str, **more: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.url}/api/v1/search", json={"query": query, **more}) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def titles(self, query: str, **more: Any) -> list[str]:
        return [result["content"]["title"] for result in (await self.search(query, **more))["results"]]

    async def part(self, name: str) -> dict[str, Any]:
        """The state of a part, as ``/health`` last saw it."""
        _, report = await self.get("/health")
        return next(part for part in report["components"] if part["name"] == name)

    async def holds(self, contents: int) -> None:
        """Wait until the index holds so many contents; the model need not be there."""

        async def whole() -> bool:
            return len((await self.get("/api/v1/content/popular?limit=100"))[1]["results"]) == contents

        await eventually(whole, timeout_s=30)

    async def built(self) -> None:
        """Wait until the index holds the catalogue and the model is there."""
        numbers = itertools.count()

        async def whole() -> bool:
            # Another query each time: an answer that lacked something is kept for a minute.
            return not (await self.search(f"anything {next(numbers)}"))["degraded"]

        await eventually(whole, timeout_s=30)


@asynccontextmanager
async def running_discovery(database_url: str, redis_url: str, **settings: Any) -> AsyncIterator[Discovery]:
    """Discovery alone; events reach it only if somebody relays them, the model is there with `models_path`."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "auth_secret": SECRET,
        "model_dir": CACHE / "models",
        "drain_timeout_s": 5.0,
    }
    running = await start_component(COMPONENT, Settings(**(values | settings)), port=0)
    try:
        async with ClientSession() as session:
            yield Discovery(running.url, session)
    finally:
        await running.drain()


@asynccontextmanager
async def relaying(database: Database, redis: RedisHandle) -> AsyncIterator[None]:
    """Carry events from the outbox to the bus."""
    bus = RedisStreamBus(redis)
    relay = asyncio.create_task(OutboxRelay(database, {EVENTS: publish_to(bus)}).run())
    try:
        yield
    finally:
        relay.cancel()
        await asyncio.wait([relay])
        await bus.close()
