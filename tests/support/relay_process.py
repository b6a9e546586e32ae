"""A process that relays events from an outbox to Redis streams until it is killed; prints ``ready`` when it begins."""

import asyncio
import sys

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.adapters.redis_stream import RedisStreamBus
from media_gateway.core.outbox import EVENTS, OutboxRelay, RelayPolicy, publish_to
from media_gateway.core.retry import RetryPolicy


async def main(database_url: str, redis_url: str) -> None:
    policy = RelayPolicy(batch_size=20, backoff=RetryPolicy(0, 20, 200))
    relay = OutboxRelay(
        Database(database_url), {EVENTS: publish_to(RedisStreamBus(RedisHandle(redis_url)))}, policy
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await relay.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
