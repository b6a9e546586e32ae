"""Rate limits: what a decision costs beside a bare script call of the same client, and whether the limit is ever exceeded.

An embedded Redis of the production kind. Two floors: the least script that counts (one INCR), and the limiter's own script
called bare, its keys and arguments ready. Blocks of the three alternate within each round, so that what else the machine
does meets all alike; the median of the rounds is reported. At last, processes with many tasks each ask for one key, and the
moments of all that was admitted, by Redis's clock, are searched for a window with more than the limit. Run alone on an idle
machine:

    python benchmarks/limiter.py [--calls 10000] [--rounds 5] [--json FILE]
"""

import argparse
import asyncio
import gc
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.limiting import Charge, CounterStore, Kind, RateLimiter, Rule, key_of
from media_gateway.core.limiting.store import DECIDE
from media_gateway.core.web.process import NEW_OBJECTS

TARGET_P99_RATIO = 1.5
TARGET_SHARE = 0.8
TASKS = 50
PROCESSES = 4
SUBJECTS = 500
WINDOW_MS = 250
EXACT_LIMIT = 100

Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Figures:
    """Of one way to call: serial latencies in microseconds, calls a second by many tasks, CPU of this process a call."""

    p50_us: float
    p99_us: float
    per_s: float
    cpu_us: float


@dataclass(frozen=True)
class Exactness:
    """What several processes were let through."""

    asked: int
    admitted: int
    most_in_a_window: int
    windows: float


@dataclass(frozen=True)
class Result:
    """What is reported."""

    calls: int
    rounds: int
    ways: dict[str, Figures]
    exactness: Exactness


async def serial(call: Call, calls: int) -> list[float]:
    """Microseconds of each call, one after another."""
    taken = []
    for number in range(calls):
        began = time.perf_counter()
        await call(number)
        taken.append((time.perf_counter() - began) * 1e6)
    return taken


async def together(call: Call, calls: int) -> tuple[float, float]:
    """Calls a second by many tasks, and CPU microseconds of this process a call."""

    async def work(first: int) -> None:
        for number in range(first, calls, TASKS):
            await call(number)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(first) for first in range(TASKS)))
    return calls / (time.perf_counter() - began), (time.process_time() - cpu) / calls * 1e6


async def ways(redis: RedisHandle, store: CounterStore) -> dict[str, Call]:
    """The floors and the limiter, over one kind of client."""
    client = redis.client_of_its_own(timeout_ms=10_000)
    limiter = RateLimiter(store)
    rule = Rule(name="bench", kind=Kind.LOG, limit=10, window_us=60_000_000, burst=10)
    keys = [key_of("bench", rule, f"user-{n}") for n in range(SUBJECTS)]
    floor = "return redis.call('INCR', KEYS[1])"
    digests = [hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest() for source in (floor, DECIDE)]
    for source in (floor, DECIDE):
        await client.script_load(source)

    async def bare(number: int) -> object:
        return await client.evalsha(digests[0], 1, keys[number % SUBJECTS] + "floor", rule.packed)

    async def bare_own(number: int) -> object:
        return await client.evalsha(digests[1], 1, keys[number % SUBJECTS], rule.packed, b"\x01")

    async def decision(number: int) -> object:
        return await limiter.decide([Charge(rule, key_of("bench", rule, f"user-{number % SUBJECTS}"))])

    return {"bare INCR script": bare, "the limiter's script, bare": bare_own, "decision": decision}


async def measure(calls: int, rounds: int) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        async with EmbeddedRedis(Path(folder) / "s") as url:
            redis = RedisHandle(url)
            store = CounterStore(redis, timeout_ms=10_000)
            found = await ways(redis, store)
            rows: dict[str, list[Figures]] = {name: [] for name in found}
            for call in found.values():
                await together(call, 2_000)
            for number in range(rounds):
                order = list(found) if number % 2 else list(reversed(found))
                taken: dict[str, list[float]] = {name: [] for name in found}
                for _ in range(20):
                    for name in order:
                        taken[name] += await serial(found[name], calls // 20)
                for name in order:
                    per_s, cpu_us = await together(found[name], calls)
                    ordered = sorted(taken[name])
                    at = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)])
                    rows[name].append(Figures(*at, per_s, cpu_us))
            await store.close()
            await redis.close()
    return {name: _median(figures) for name, figures in rows.items()}


def _median(figures: Sequence[Figures]) -> Figures:
    return Figures(
        *(statistics.median(getattr(f, name) for f in figures) for name in Figures.__dataclass_fields__)
    )


async def exactness(calls: int) -> Exactness:
    """Processes that ask for one key as fast as they can."""
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        async with EmbeddedRedis(Path(folder) / "s") as url:
            command = [sys.executable, __file__, "--ask", url, "--calls", str(calls)]
            pipe = asyncio.subprocess.PIPE
            processes = [
                await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
                for _ in range(PROCESSES)
            ]
            for process in processes:
                assert process.stdout
                await process.stdout.readline()
            answers = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    moments = sorted(moment for told, _ in answers for moment in json.loads(told))
    return Exactness(
        asked=PROCESSES * calls,
        admitted=len(moments),
        most_in_a_window=_most(moments),
        windows=(moments[-1] - moments[0]) / (WINDOW_MS * 1000),
    )


def _most(moments: Sequence[int]) -> int:
    """Most moments in any half-open window."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - WINDOW_MS * 1000:
            first += 1
        most = max(most, last - first + 1)
    return most


async def ask(url: str, calls: int) -> None:
    """One of the asking processes."""
    redis = RedisHandle(url)
    store = CounterStore(redis, timeout_ms=30_000)
    limiter = RateLimiter(store)
    rule = Rule(name="exact", kind=Kind.LOG, limit=EXACT_LIMIT, window_us=WINDOW_MS * 1000, burst=EXACT_LIMIT)
    charges = [Charge(rule, key_of("exact", rule, "all"))]
    moments: list[int] = []

    async def one(_number: int) -> None:
        decided = await limiter.decide(charges)
        moments.extend(receipt.charged_at_us for receipt in decided.receipts)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    await together(one, calls)
    sys.stdout.write(json.dumps(moments))
    await store.close()
    await redis.close()


def show(result: Result) -> None:
    table = Table(
        title=f"Rate limits, {result.calls} calls × {result.rounds} rounds, one rule of 10 a minute"
    )
    for heading in ("way", "serial p50", "serial p99", f"{TASKS} tasks", "CPU a call"):
        table.add_column(heading)
    for name, f in result.ways.items():
        row = (f"{f.p50_us:.0f} µs", f"{f.p99_us:.0f} µs", f"{f.per_s:,.0f}/s", f"{f.cpu_us:.0f} µs")
        table.add_row(name, *row)
    decision = result.ways["decision"]
    for name in list(result.ways)[:-1]:
        floor = result.ways[name]
        table.add_row(
            f"decision beside {name}",
            f"{decision.p50_us / floor.p50_us:.2f} ×",
            f"{decision.p99_us / floor.p99_us:.2f} × (≤ {TARGET_P99_RATIO})",
            f"{decision.per_s / floor.per_s:.0%} (≥ {TARGET_SHARE:.0%})",
            f"{decision.cpu_us / floor.cpu_us:.2f} ×",
        )
    Console().print(table)
    e = result.exactness
    Console().print(
        f"{PROCESSES} processes × {TASKS} tasks, limit {EXACT_LIMIT} in {WINDOW_MS} ms: {e.asked:,} asked, {e.admitted:,} "
        f"admitted over {e.windows:.1f} windows, most in any window of Redis's clock: {e.most_in_a_window}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    parser.add_argument("--ask", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        uvloop.run(ask(arguments.ask, arguments.calls))
        return
    gc.set_threshold(NEW_OBJECTS)  # as every serving process
    figures = uvloop.run(measure(arguments.calls, arguments.rounds))
    result = Result(arguments.calls, arguments.rounds, figures, uvloop.run(exactness(arguments.calls)))
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()
