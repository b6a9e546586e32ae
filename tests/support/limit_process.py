"""A process that asks a limiter from many tasks at once; prints the moments, by Redis's clock, of what was admitted.

Started with a Redis URL, the limit, the window in milliseconds, tasks, and calls of each task. It says that it is ready,
begins at a line on standard input, and ends with one line of JSON.
"""

import asyncio
import json
import sys
from itertools import chain

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.limiting import Charge, CounterStore, Kind, RateLimiter, Rule, key_of


async def main(redis_url: str, limit: int, window_ms: int, tasks: int, calls: int) -> None:
    redis = RedisHandle(redis_url)
    # Patient: the machine of the tests is busy, and here nothing may be counted elsewhere.
    store = CounterStore(redis, timeout_ms=30_000)
    limiter = RateLimiter(store)
    rule = Rule(name="r", kind=Kind.LOG, limit=limit, window_us=window_ms * 1000, burst=limit)
    charge = Charge(rule, key_of("processes", rule, "all"))

    async def ask() -> list[int]:
        decisions = [await limiter.decide([charge]) for _ in range(calls)]
        return [receipt.charged_at_us for d in decisions if d.admitted for receipt in d.receipts]

    say({"ready": True})
    await asyncio.to_thread(sys.stdin.readline)
    moments = await asyncio.gather(*(ask() for _ in range(tasks)))
    say({"admitted": sorted(chain.from_iterable(moments))})
    await limiter.close()
    await redis.close()


def say(words: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
