"""Upsert with identity resolution, beside a bare bulk load of the same rows into the same tables.

    .venv/bin/python benchmarks/upsert.py [--records 10000] [--rounds 3] [--json FILE]

Upsert: `CatalogueWriter.write` of film-like records (three exact ids, eight people, three offerings, an overview; one in
fifty repeats a film under another source id) over four connections, without vectors, into an empty database of an
embedded Postgres with fsync on. The connections belong to one process, or to two: resolution and folding are Python, and
one process of it fills one core long before Postgres is busy.

Floor: the rows that the upsert left in every table (outbox included), brought back by COPY into temporary tables and
``INSERT … SELECT … ON CONFLICT`` on one connection, 500 contents a transaction. Resolution, folding and events are all
extra to it. Each upsert is followed by its floor; a share is the median of those pairs.
"""

import argparse
import asyncio
import gc
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.content import (
    AvailabilityType,
    ContentType,
    Credit,
    CreditRole,
    ExternalIds,
    Genre,
    Offering,
    SourceRecord,
)
from media_gateway.core.migrations import migrate
from media_gateway.ingestion.services.catalogue import CatalogueWriter, RunContext

CONNECTIONS = 4
FLOOR_SIZE = 500
"""Contents in a transaction of the floor."""

TARGETS = {(10, 1): 0.40, (500, 1): None, (500, 2): 1.00}
"""Records a transaction and processes → least share of the floor; None is shown for comparison."""

TABLES = ("contents", "external_ids", "source_records", "offerings", "credits", "outbox")
KEYS = {
    "contents": "id",
    "external_ids": "id_type, id_value",
    "source_records": "source, source_id",
    "offerings": "content_id, source, platform, region, availability_type",
    "credits": "content_id, role, position",
    "outbox": "destination, id",
}
Rows = dict[str, tuple[list[str], list[tuple[Any, ...]]]]
"""Columns and rows of each table."""

SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "ol")]


def make_records(count: int) -> list[SourceRecord]:
    """Film-like records, the same for a count every time."""
    rng = random.Random(3)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(4_000)]
    people = [f"{rng.choice(words).title()} {rng.choice(words).title()}" for _ in range(6_000)]
    records = [_record(index, words, people, rng) for index in range(count)]
    for index in range(49, count, 50):
        twin = records[index - rng.randint(1, 40)]
        records[index] = twin.model_copy(update={"source_id": f"{index}", "runtime_minutes": 99})
    return records


def _record(index: int, words: Sequence[str], people: Sequence[str], rng: random.Random) -> SourceRecord:
    cast = rng.sample(people, 8)
    roles = [CreditRole.DIRECTOR, CreditRole.WRITER] + [CreditRole.ACTOR] * 6
    regions = rng.sample(["US", "GB", "DE", "FR", "ES", "BR"], 3)
    return SourceRecord(
        source="bench",
        source_id=str(index),
        content_type=ContentType.MOVIE,
        title=" ".join(rng.choices(words, k=rng.randint(1, 4))).title(),
        overview=" ".join(rng.choices(words, k=45)).capitalize() + ".",
        release_year=min(2024, int(rng.triangular(1920, 2026, 2015))),
        runtime_minutes=rng.randint(60, 200),
        genres=tuple(rng.sample(list(Genre), 3)),
        external_ids=ExternalIds(imdb=f"tt{index + 1:07d}", tmdb=index + 1, wikidata=f"Q{index + 1}"),
        offerings=tuple(
            Offering(
                platform=rng.choice(["netflix", "prime_video", "hulu"]),
                region=region,
                availability_type=AvailabilityType.SUBSCRIPTION,
                url=f"https://example.org/watch/{index}",
            )
            for region in regions
        ),
        credits=tuple(
            Credit(name=name, role=role, position=position)
            for position, (name, role) in enumerate(zip(cast, roles, strict=True))
        ),
        average_rating=round(rng.uniform(3, 9), 1),
        rating_count=rng.randint(10, 100_000),
        popularity_score=rng.random(),
        original_language="en",
        production_countries=("United States",),
        keywords=tuple(rng.sample(words, 4)),
    )


def upsert(url: str, count: int, batch_size: int, processes: int) -> float:
    """Seconds to write all records into an empty database, the connections spread over processes."""
    context = multiprocessing.get_context("spawn")
    barrier, ends = context.Barrier(processes + 1), context.Queue()
    workers = [
        context.Process(target=_worker, args=(url, count, batch_size, (index, processes), (barrier, ends)))
        for index in range(processes)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = time.monotonic()
    finished = [ends.get() for _ in workers]
    for worker in workers:
        worker.join()
    return float(max(finished)) - started


def _worker(url: str, count: int, batch_size: int, share: tuple[int, int], sync: tuple[Any, Any]) -> None:
    index, processes = share
    barrier, ends = sync
    records = make_records(count)
    batches = [records[start : start + batch_size] for start in range(0, count, batch_size)][index::processes]
    batches.reverse()
    # The input is not what is measured: without this the collector walks it again and again.
    gc.collect()
    gc.freeze()
    uvloop.run(_write(url, batches, CONNECTIONS // processes, barrier))
    ends.put(time.monotonic())


async def _write(url: str, batches: list[list[SourceRecord]], connections: int, barrier: Any) -> None:
    database = Database(url, pool_size=connections, timeout_ms=60_000)
    writer = CatalogueWriter(database)
    run = RunContext(run_id=uuid4(), source="bench", mode="Full")

    async def work() -> None:
        while batches:
            report = await writer.write(batches.pop(), run=run)
            assert not report.rejected

    try:
        await asyncio.gather(*(database.ping() for _ in range(connections)))
        barrier.wait()
        await asyncio.gather(*(work() for _ in range(connections)))
    finally:
        await database.close()


async def dump(url: str) -> Rows:
    """Rows of every table."""
    connection = await asyncpg.connect(url)
    try:
        rows = {}
        for table in TABLES:
            found = [tuple(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
            prepared = await connection.prepare(f"SELECT * FROM {table}")
            rows[table] = ([attribute.name for attribute in prepared.get_attributes()], found)
        return rows
    finally:
        await connection.close()


def cut(rows: Rows, size: int) -> list[Rows]:
    """The rows of each ``size`` contents together."""
    columns, contents = rows["contents"]
    part_of = {str(row[columns.index("id")]): index // size for index, row in enumerate(contents)}
    parts: list[Rows] = [
        {table: (columns, []) for table, (columns, _) in rows.items()}
        for _ in range(max(part_of.values()) + 1)
    ]
    for table, (columns, values) in rows.items():
        place = columns.index({"contents": "id", "outbox": "key"}.get(table, "content_id"))
        for row in values:
            parts[part_of[str(row[place])]][table][1].append(row)
    return parts


async def floor(url: str, parts: Sequence[Rows]) -> float:
    """Seconds to load rows into their tables in bulk, a transaction for each part."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET jit = off")
        started = time.perf_counter()
        for table in TABLES:
            await connection.execute(f"CREATE TEMP TABLE new_{table} (LIKE {table}) ON COMMIT DELETE ROWS")
        for part in parts:
            async with connection.transaction():
                for table, (columns, values) in part.items():
                    await _load(connection, table, columns, values)
        return time.perf_counter() - started
    finally:
        await connection.close()


async def _load(connection: Any, table: str, columns: list[str], values: list[tuple[Any, ...]]) -> None:
    await connection.copy_records_to_table(f"new_{table}", records=values, columns=columns)
    names, key = ", ".join(columns), KEYS[table].split(", ")
    sets = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    override = "OVERRIDING SYSTEM VALUE" if table == "outbox" else ""
    await connection.execute(
        f"INSERT INTO {table} ({names}) {override} SELECT {names} FROM new_{table} "
        f"ON CONFLICT ({KEYS[table]}) DO UPDATE SET {sets}"
    )


class Databases:
    """Fresh databases on one server."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._base = server_url.rpartition("/")[0]
        self.count = 0

    async def prepare(self) -> None:
        """Make the migrated template."""
        await self._execute("CREATE DATABASE bench_template")
        await migrate(f"{self._base}/bench_template")

    async def fresh(self) -> str:
        """URL of an empty database; the one before is dropped."""
        await self._execute(f"DROP DATABASE IF EXISTS bench_{self.count} WITH (FORCE)")
        self.count += 1
        await self._execute(f"CREATE DATABASE bench_{self.count} TEMPLATE bench_template")
        await self._execute("CHECKPOINT")
        return f"{self._base}/bench_{self.count}"

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; rates are records per second."""
    count = options.records
    floors: list[float] = []
    rates: dict[tuple[int, int], list[float]] = {case: [] for case in TARGETS}
    shares: dict[tuple[int, int], list[float]] = {case: [] for case in TARGETS}
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        async with EmbeddedPostgres(Path(folder)) as server_url:
            databases = Databases(server_url)
            await databases.prepare()
            for _ in range(options.rounds):
                for (size, processes), rate in rates.items():
                    url = await databases.fresh()
                    rate.append(count / await asyncio.to_thread(upsert, url, count, size, processes))
                    parts = cut(await dump(url), FLOOR_SIZE)
                    floors.append(count / await floor(await databases.fresh(), parts))
                    shares[size, processes].append(rate[-1] / floors[-1])
    upserts = [
        {
            "records_per_transaction": size,
            "processes": processes,
            "median": statistics.median(rate),
            "runs": rate,
            "ratio": statistics.median(shares[size, processes]),
            "ratios": shares[size, processes],
            "target": TARGETS[size, processes],
        }
        for (size, processes), rate in rates.items()
    ]
    return {
        "records": count,
        "connections": CONNECTIONS,
        "floor": {"records_per_transaction": FLOOR_SIZE, "median": statistics.median(floors), "runs": floors},
        "upsert": upserts,
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(
        title=f"Upsert of {result['records']} records, {result['connections']} connections, no vectors"
    )
    for heading in ("", "records/s (median)", "spread", "of the floor", "target"):
        table.add_column(heading, justify="right" if heading else "left")
    floors = result["floor"]
    table.add_row(
        f"floor: bulk load, {floors['records_per_transaction']} a transaction, 1 connection",
        f"{floors['median']:.0f}",
        _spread(floors["runs"]),
        "",
        "",
    )
    for case in result["upsert"]:
        processes = "1 process" if case["processes"] == 1 else f"{case['processes']} processes"
        table.add_row(
            f"upsert, {case['records_per_transaction']} a transaction, {processes}",
            f"{case['median']:.0f}",
            _spread(case["runs"]),
            f"{case['ratio']:.0%} ({min(case['ratios']):.0%}…{max(case['ratios']):.0%})",
            f"≥ {case['target']:.0%}" if case["target"] else "",
        )
    Console(width=120).print(table)


def _spread(runs: Sequence[float]) -> str:
    return f"{min(runs):.0f}…{max(runs):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    result = uvloop.run(measure(options))
    show(result)
    if options.json:
        options.json.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))


if __name__ == "__main__":
    main()
