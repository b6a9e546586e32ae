"""Vector search in Postgres: latency, recall and writing speed at the demo's size, beside exact search in numpy.

Made-up vectors of 200 themes in a space of few dimensions, which is how embeddings of texts lie. The floor is one
matrix product over all vectors and a partial sort in this process. Run alone on an idle machine:

    python benchmarks/vectors.py [--sizes 17000,36000] [--rounds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.pgvector import PgvectorIndex
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.domain.vectors import (
    EMBEDDING_DIMENSION,
    UPSERT_LIMIT,
    VectorFilter,
    VectorPayload,
    VectorPoint,
)

QUERIES = 100
LATENT_DIMENSIONS = 32
THEMES = 200
GENRES = ("drama", "comedy", "horror", "war")
FIRST_YEAR, YEARS = 1950, 70
FILTER = VectorFilter(genres_any=("drama",), year_from=1990)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Search:
    """One kind of search at one size."""

    size: int
    top_k: int
    filtered: bool
    p50_ms: float
    p95_ms: float
    floor_p50_ms: float
    recall: float


@dataclass(frozen=True)
class Result:
    """What is reported."""

    rounds: int
    points_per_s: float
    searches: list[Search]


def made_up(count: int, seed: int) -> Vectors:
    rng = np.random.default_rng(0)
    projection = rng.normal(size=(LATENT_DIMENSIONS, EMBEDDING_DIMENSION))
    themes = rng.normal(size=(THEMES, LATENT_DIMENSIONS))
    rng = np.random.default_rng(seed)
    latent = themes[rng.integers(0, THEMES, count)] + 0.7 * rng.normal(size=(count, LATENT_DIMENSIONS))
    vectors = latent @ projection + rng.normal(size=(count, EMBEDDING_DIMENSION))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def payload(number: int) -> VectorPayload:
    return VectorPayload(
        title=f"Film {number}",
        content_type="movie",
        genres=(GENRES[number % len(GENRES)],),
        release_year=FIRST_YEAR + number % YEARS,
    )


def passes(number: int) -> bool:
    found = payload(number)
    assert found.release_year is not None
    return found.genres == FILTER.genres_any and found.release_year >= (FILTER.year_from or 0)


def nearest(
    vectors: Vectors, allowed: NDArray[np.bool_] | None, query: Vectors, top_k: int
) -> NDArray[np.int64]:
    """Exact answer."""
    similarities = vectors @ query
    if allowed is not None:
        similarities = np.where(allowed, similarities, np.float32(-2))
    best = np.argpartition(-similarities, top_k)[:top_k]
    return np.asarray(best[np.argsort(-similarities[best])], np.int64)


async def fill(index: PgvectorIndex, vectors: Vectors, start: int, end: int) -> float:
    """Store the points from start to end; returns seconds."""
    started = time.perf_counter()
    for first in range(start, end, UPSERT_LIMIT):
        numbers = range(first, min(end, first + UPSERT_LIMIT))
        await index.upsert_batch([VectorPoint(UUID(int=n + 1), vectors[n], payload(n)) for n in numbers])
    return time.perf_counter() - started


async def measure_search(
    index: PgvectorIndex, vectors: Vectors, queries: Vectors, top_k: int, where: VectorFilter | None
) -> Search:
    allowed = np.array([passes(n) for n in range(len(vectors))]) if where else None
    ours, floors, recalls = [], [], []
    for query in queries:
        started = time.perf_counter()
        exact = nearest(vectors, allowed, query, top_k)
        between = time.perf_counter()
        hits = await index.search(query, top_k=top_k, where=where)
        ours.append((time.perf_counter() - between) * 1000)
        floors.append((between - started) * 1000)
        recalls.append(len({hit.content_id.int - 1 for hit in hits} & set(exact.tolist())) / top_k)
    return Search(
        size=len(vectors),
        top_k=top_k,
        filtered=where is not None,
        p50_ms=float(np.percentile(ours, 50)),
        p95_ms=float(np.percentile(ours, 95)),
        floor_p50_ms=float(np.percentile(floors, 50)),
        recall=float(np.mean(recalls)),
    )


def median(rounds: list[Search]) -> Search:
    """The round with the median p50."""
    return sorted(rounds, key=attrgetter("p50_ms"))[len(rounds) // 2]


async def measure(sizes: list[int], rounds: int) -> Result:
    vectors, queries = made_up(max(sizes), seed=1), made_up(QUERIES, seed=2)
    seconds, stored, searches = 0.0, 0, []
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        async with EmbeddedPostgres(Path(folder)) as url:
            database = Database(url, timeout_ms=30_000)
            index = PgvectorIndex(database)
            for size in sorted(sizes):
                seconds += await fill(index, vectors, stored, size)
                stored = size
                for top_k, where in ((10, None), (100, None), (100, FILTER)):
                    searched = [
                        await measure_search(index, vectors[:size], queries, top_k, where)
                        for _ in range(rounds)
                    ]
                    searches.append(median(searched))
            await database.close()
    return Result(rounds, stored / seconds, searches)


def show(result: Result) -> None:
    table = Table("vectors", "top", "filter", "p50 ms", "p95 ms", "exact numpy p50 ms", "recall")
    for search in result.searches:
        table.add_row(
            f"{search.size:,}",
            str(search.top_k),
            "genre and year" if search.filtered else "",
            f"{search.p50_ms:.2f}",
            f"{search.p95_ms:.2f}",
            f"{search.floor_p50_ms:.2f}",
            f"{search.recall:.4f}",
        )
    console = Console()
    console.print(table)
    console.print(f"written one batch of {UPSERT_LIMIT} after the other: {result.points_per_s:.0f} points/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", default="17000,36000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure([int(size) for size in options.sizes.split(",")], options.rounds))
    show(result)
    if options.json:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
