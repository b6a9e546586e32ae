"""A hit of the search cache beside a bare Redis GET of the same 9 KB, in the same event loop.

Workers ask without a pause, each for an answer of its own, so that nothing is shared but the questions to Redis. Rounds
alternate floor and cache; medians and spreads are reported. The key of the search is worked out for every hit. Run alone
on an idle machine:

    python benchmarks/cache.py [--lookups 4000] [--rounds 7] [--json FILE]
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.discovery.cache import (
    AnswerCache,
    AskedSearch,
    CacheState,
    CacheStore,
    Computed,
    search_key,
)

BODY = b"x" * 9_000
WORKERS = (1, 8, 64)
TARGET_RATIO = 1.3
ASKED = AskedSearch(
    query="a film about ducks",
    filters={"genres": ["comedy", "drama"], "year": {"from": 1990, "to": 1999}},
    page=1,
    page_size=20,
    ranking_version="1",
    generation="1.0123456789abcdef",
)


@dataclass(frozen=True)
class Result:
    """What is reported for one number of workers; microseconds a lookup, medians of the rounds."""

    workers: int
    floor_us: float
    hit_us: float
    ratio: float
    ratio_spread: tuple[float, float]
    cpu_ratio: float


async def timed(lookups: int, workers: int, lookup: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Microseconds a lookup: of the clock, and of this process's work."""

    async def work(number: int) -> None:
        for _ in range(lookups // workers):
            await lookup(number)

    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(number) for number in range(workers)))
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    return took_s / lookups * 1e6, cpu_s / lookups * 1e6


async def compute() -> Computed:
    return Computed(BODY, 1_800)


async def measure(lookups: int, rounds: int) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        async with EmbeddedRedis(Path(folder) / "s") as url:
            handle = RedisHandle(url)
            store = CacheStore(handle, patience_ms=1_000)
            cache = AnswerCache(store)
            asked = [replace(ASKED, page=number + 1) for number in range(max(WORKERS))]

            async def hit(number: int) -> None:
                answer = await cache.answer(search_key(asked[number]), compute)
                assert answer.state is CacheState.HIT

            async def floor(number: int) -> None:
                assert await handle.client.get(f"floor:{number}")

            for number, search in enumerate(asked):
                await handle.client.set(f"floor:{number}", BODY)
                await cache.answer(search_key(search), compute)
                await store.put("last", b"", life_s=1)  # writes keep their order: the answer is stored before
            results = [await compared(lookups, rounds, workers, floor, hit) for workers in WORKERS]
            await store.close()
            await handle.close()
    return results


async def compared(
    lookups: int,
    rounds: int,
    workers: int,
    floor: Callable[[int], Awaitable[None]],
    hit: Callable[[int], Awaitable[None]],
) -> Result:
    await timed(lookups // 4, workers, floor)
    floors: list[tuple[float, float]] = []
    hits: list[tuple[float, float]] = []
    for number in range(rounds):
        for kind in (floor, hit) if number % 2 else (hit, floor):
            (floors if kind is floor else hits).append(await timed(lookups, workers, kind))
    ratios = [ours[0] / bare[0] for ours, bare in zip(hits, floors, strict=True)]
    return Result(
        workers=workers,
        floor_us=round(statistics.median(wall for wall, _ in floors), 1),
        hit_us=round(statistics.median(wall for wall, _ in hits), 1),
        ratio=round(statistics.median(ratios), 2),
        ratio_spread=(round(min(ratios), 2), round(max(ratios), 2)),
        cpu_ratio=round(
            statistics.median(ours[1] / bare[1] for ours, bare in zip(hits, floors, strict=True)), 2
        ),
    )


def show(results: list[Result]) -> None:
    table = Table(
        "workers", "GET (floor)", "hit", "hit / floor", "spread", "CPU of the process, hit / floor", "target"
    )
    for result in results:
        low, high = result.ratio_spread
        table.add_row(
            str(result.workers),
            f"{result.floor_us:.0f} µs",
            f"{result.hit_us:.0f} µs",
            f"{result.ratio:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{result.cpu_ratio:.2f}",
            f"<= {TARGET_RATIO}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lookups", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = uvloop.run(measure(arguments.lookups, arguments.rounds))
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2))


if __name__ == "__main__":
    main()
