"""Asks one Service at a steady pace, whether it answers or not, until SIGTERM; then tells how that went, as JSON.

A program of its own that runs in a pod of the cluster: ``python -c <this file> URL REQUESTS_PER_SECOND``. Where asking
without a pause would not give twice as much, the pace is lower: a change is to be watched, not an overload. Half of the
requests come on connections of their own, half on connections that are kept and may be closed by the server just when a
request is sent: that one is sent once more, as every client with a pool does.
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


LEAST_PER_SECOND = 5.0
SHARE = 0.5


class Load:
    """Requests and what has become of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.took: list[float] = []
        self.problems: Counter[str] = Counter()
        self.empty = self.sent_again = 0

    async def ask(self, session: aiohttp.ClientSession, query: str, *, kept: bool) -> None:
        """Send one request."""
        began = time.monotonic()
        try:
            try:
                await self._ask(session, query)
            except aiohttp.ServerDisconnectedError:
                if not kept:
                    raise
                self.sent_again += 1
                await self._ask(session, query)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.problems[f"{'kept' if kept else 'fresh'}: {type(error).__name__}: {error}"] += 1
        self.took.append(time.monotonic() - began)

    async def _ask(self, session: aiohttp.ClientSession, query: str) -> None:
        async with session.post(self._url, json={"query": query}) as answer:
            answer.raise_for_status()
            if not (await answer.json())["results"]:
                self.empty += 1

    async def let_in(self, session: aiohttp.ClientSession) -> None:
        """Wait until the first connection: a policy takes a moment to know a new pod."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return await self._ask(session, QUERIES[0])
            except aiohttp.ClientConnectionError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)

    async def pace(self, session: aiohttp.ClientSession, most: float) -> float:
        """Requests a second that leave the Service at ease."""
        for query in QUERIES:
            await self.ask(session, query, kept=False)
        took_s, self.took = sorted(self.took)[len(QUERIES) // 2], []
        return max(LEAST_PER_SECOND, min(most, SHARE / took_s))

    def told(self, seconds: float, pace: float) -> dict[str, object]:
        """For the test and its report."""
        took = sorted(self.took)
        return {
            "requests": len(took),
            "seconds": round(seconds, 1),
            "pace": round(pace, 1),
            "problems": dict(self.problems),
            "sent again": self.sent_again,
            "without results": self.empty,
            "p50_ms": round(1000 * took[len(took) // 2]),
            "p99_ms": round(1000 * took[len(took) * 99 // 100]),
            "max_ms": round(1000 * took[-1]),
        }


async def main(url: str, most_per_second: float) -> None:
    """Ask until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    load = Load(url)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    fresh = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=timeout)
    kept = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
    async with fresh, kept, asyncio.TaskGroup() as tasks:
        await load.let_in(fresh)
        pace = await load.pace(fresh, most_per_second)
        print("begun", flush=True)  # noqa: T201 - read by the test
        number, began = 0, time.monotonic()
        while not stop.is_set():
            session, query = (fresh, kept)[number % 2], QUERIES[number // 2 % len(QUERIES)]
            tasks.create_task(load.ask(session, query, kept=session is kept))
            number += 1
            await asyncio.sleep(max(0.0, began + number / pace - time.monotonic()))
    print(json.dumps(load.told(time.monotonic() - began, pace)), flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
