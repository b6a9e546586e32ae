"""Asks one Service at a steady pace, whether it answers or not, until SIGTERM; then tells how that went, as JSON.

A program of its own that runs in a pod of the cluster: ``python -c <this file> URL REQUESTS_PER_SECOND``. Half of the
requests come on connections of their own, half on connections that are kept, as other components keep them.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter

import aiohttp

QUERIES = (
    "the intouchables",
    "12 angry men",
    "sky fall",
    "films by federico fellini",
    "la dolce vita",
    "a shark",
)
TIMEOUT_S = 20.0


async def main(url: str, per_second: float) -> None:
    """Ask until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    took: list[float] = []
    problems: Counter[str] = Counter()

    async def ask(session: aiohttp.ClientSession, query: str) -> None:
        began = time.monotonic()
        try:
            async with session.post(url, json={"query": query}) as answer:
                await answer.read()
                if answer.status != 200:
                    problems[f"status {answer.status}"] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            problems[f"{type(error).__name__}: {error}"] += 1
        took.append(time.monotonic() - began)

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    fresh = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=timeout)
    kept = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
    number, began = 0, time.monotonic()
    async with fresh, kept, asyncio.TaskGroup() as tasks:
        while not stop.is_set():
            tasks.create_task(ask((fresh, kept)[number % 2], QUERIES[number // 2 % len(QUERIES)]))
            number += 1
            if number == 1:
                print("begun", flush=True)  # noqa: T201 - read by the test
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
    took.sort()
    told = {
        "requests": len(took),
        "seconds": round(time.monotonic() - began, 1),
        "problems": dict(problems),
        "p50_ms": round(1000 * took[len(took) // 2]),
        "p99_ms": round(1000 * took[len(took) * 99 // 100]),
        "max_ms": round(1000 * took[-1]),
    }
    print(json.dumps(told), flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
