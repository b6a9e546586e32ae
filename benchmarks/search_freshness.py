"""How soon a film can be found after it was written, while 1,000 records a second are. Used by ``search.py``.

The records take the way of any ingestion: `CatalogueWriter`, outbox, relay, bus, index. Four times a second one of them has
a title of its own, and somebody searches for that title until it is found; counted from before the record is written, and
cached answers that don't hold it yet count like any other. Beside it, discovery's own histogram of every event.
"""

import asyncio
import multiprocessing
import queue
import random
import re
import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import aiohttp
import numpy as np
import uvloop
from rich.console import Console
from search_stand import Stand
from upsert import make_records

from media_gateway.core.bootstrap import open_backends
from media_gateway.core.domain.content import ExternalIds, SourceRecord
from media_gateway.core.outbox import EVENTS, RelayPolicy
from media_gateway.core.settings import CoreSettings
from media_gateway.ingestion.services.catalogue import CatalogueWriter, RunContext
from media_gateway.ingestion.services.relays import events_relay

RECORDS_PER_S: Final = 1_000
RECORDS_AT_ONCE: Final = 50
BATCHES_A_PROBE: Final = 5
SECONDS: Final = 15
WRITERS: Final = 4
"""Batches written at the same time, at most; a machine that is too slow falls behind the clock, and the rate tells."""

POLL_S: Final = 0.05
LIMIT_S: Final = 60.0
TARGET_S: Final = 1.0
_BUCKET: Final = re.compile(r'mgw_index_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')


@dataclass(frozen=True)
class Freshness:
    """Seconds until found; and of all events, how many were indexed within a second."""

    records: int
    records_per_s: float
    probes: int
    p50_s: float
    p99_s: float
    events: int
    events_in_time: int


async def measure_freshness(stand: Stand) -> Freshness:
    """Write, and search for what is written."""
    context = multiprocessing.get_context("spawn")
    written = context.Queue()
    seed = random.randrange(1 << 30)
    writer = context.Process(target=_write_all, args=(stand.settings, seed, written))
    async with aiohttp.ClientSession() as session:
        before = await _lags(session, stand.discovery.url)
        writer.start()
        probes = []
        took_s = 0.0
        while not took_s:
            try:
                title, moment_s = written.get_nowait()
            except queue.Empty:
                await asyncio.sleep(0.005)
                continue
            if title is None:
                took_s = moment_s
            else:
                search = _until_found(session, stand.discovery.url, title, moment_s)
                probes.append(asyncio.create_task(search))
        waits = await asyncio.gather(*probes)
        await asyncio.to_thread(writer.join)
        after = await _lags(session, stand.discovery.url)
    p50_s, p99_s = np.percentile(waits, (50, 99))
    records = SECONDS * RECORDS_PER_S
    return Freshness(
        records=records,
        records_per_s=records / took_s,
        probes=len(waits),
        p50_s=float(p50_s),
        p99_s=float(p99_s),
        events=round(after["+Inf"] - before["+Inf"]),
        events_in_time=round(after["1.0"] - before["1.0"]),
    )


async def _until_found(session: aiohttp.ClientSession, url: str, title: str, began_s: float) -> float:
    search = {"query": title, "page_size": 1}
    while True:
        async with session.post(f"{url}/api/v1/search", json=search) as answer:
            results = (await answer.json())["results"]
        waited_s = time.time() - began_s
        if results and results[0]["content"]["title"] == title:
            return waited_s
        if waited_s > LIMIT_S:
            raise SystemExit(f"{title!r} was written and is not found after {LIMIT_S} s")
        await asyncio.sleep(POLL_S)


async def _lags(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(f"{url}/metrics") as answer:
        return {bound: float(count) for bound, count in _BUCKET.findall(await answer.text())}


def _write_all(settings: CoreSettings, seed: int, written: Any) -> None:
    uvloop.run(_write(settings, seed, written))


def new_records(count: int, seed: int) -> list[SourceRecord]:
    """Film-like records that the catalogue does not have, whatever was written to it before."""
    rng = random.Random(seed)
    return [
        record.model_copy(
            update={
                "source": f"bench-{seed}",
                "external_ids": ExternalIds(),
                "title": f"{record.title} {rng.randrange(1 << 32):x}",
            }
        )
        for record in make_records(count)
    ]


async def _write(settings: CoreSettings, seed: int, written: Any) -> None:
    """Write batches by the clock, with an ingestion's relay beside; tells of probes, and last how long it took."""
    records = new_records(SECONDS * RECORDS_PER_S, seed)
    batches = [records[start : start + RECORDS_AT_ONCE] for start in range(0, len(records), RECORDS_AT_ONCE)]
    async with open_backends(settings, {"database", "redis", "events"}) as backends:
        writer = CatalogueWriter(backends.database)
        relay = asyncio.create_task(
            events_relay(backends.database, backends.events, RelayPolicy.from_settings(settings)).run()
        )
        run = RunContext(run_id=uuid4(), source=f"bench-{seed}", told=frozenset({EVENTS}))
        began_s = time.perf_counter()
        waiting = iter(enumerate(batches))

        async def work() -> None:
            for number, batch in waiting:
                planned_s = began_s + number * RECORDS_AT_ONCE / RECORDS_PER_S
                await asyncio.sleep(max(0.0, planned_s - time.perf_counter()))
                if number % BATCHES_A_PROBE == 0:
                    written.put((batch[0].title, time.time()))
                await writer.write(batch, run=run)

        await asyncio.gather(*(work() for _ in range(WRITERS)))
        written.put((None, time.perf_counter() - began_s))
        await asyncio.sleep(2)  # the relay has the last ones to carry
        relay.cancel()
        await asyncio.wait([relay])


def show_freshness(found: Freshness, console: Console) -> None:
    """One line."""
    share = found.events_in_time / max(1, found.events)
    console.print(
        f"event to searchable while {found.records_per_s:.0f} records/s are written: p50 {found.p50_s * 1000:.0f} ms, p99 "
        f"{found.p99_s * 1000:.0f} ms of {found.probes} titles searched for over HTTP (target p99 ≤ {TARGET_S * 1000:.0f} ms); "
        f"{share:.2%} of {found.events} events were indexed within a second"
    )
