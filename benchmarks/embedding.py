"""MiniLM in process: documents per second, query latency and memory, beside bare onnxruntime.

The floor runs the same session options on token ids made beforehand, in fixed batches of the same size, with nothing
around it. Rounds alternate floor and embedder; medians and spreads are reported. Run alone on an idle machine:

    python benchmarks/embedding.py [--documents 400] [--rounds 5] [--models FOLDER] [--json FILE]
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.adapters.minilm.artifacts import MODEL_FILE, model_folder
from media_gateway.core.adapters.minilm.background import build_in_subprocess
from media_gateway.core.adapters.minilm.model import TOKENS_PER_BATCH, open_session
from media_gateway.core.settings import CoreSettings

DOCUMENT_TOKENS = 45
QUERY_COUNT = 300
TARGET_DOCUMENTS_PER_S = 140
TARGET_QUERY_P95_MS = 4.0
WORDS = [
    "film",
    "drama",
    "comedy",
    "war",
    "love",
    "city",
    "night",
    "detective",
    "family",
    "winter",
    "ship",
    "house",
    "music",
    "friend",
    "murder",
    "village",
    "secret",
    "journey",
    "king",
    "soldier",
    "dream",
    "money",
    "island",
    "train",
    "school",
    "summer",
    "ghost",
    "doctor",
    "river",
]
"""Whole words of the model's vocabulary, so that a text has as many tokens as words, and two more."""


@dataclass(frozen=True)
class Result:
    """What is reported; spreads are the lowest and highest round."""

    documents: int
    rounds: int
    floor_documents_per_s: float
    documents_per_s: float
    documents_spread: tuple[float, float]
    share_of_floor: float
    floor_two_threads_documents_per_s: float
    two_calls_documents_per_s: float
    two_processes_documents_per_s: float
    floor_query_p50_ms: float
    query_p50_ms: float
    query_p95_ms: float
    query_beside_documents_p95_ms: float
    base_mb: float
    query_mb: float
    batch_mb: float


def texts(count: int, words: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


def memory_mb() -> float:
    """Memory of this process, shared pages counted by share where the system tells."""
    memory = psutil.Process().memory_full_info()
    return float(getattr(memory, "pss", memory.rss)) / 1e6


class Floor:
    """Bare ``session.run`` on fixed inputs."""

    def __init__(self, models_path: Path) -> None:
        self._session = open_session(model_folder(models_path) / MODEL_FILE)

    def run(self, rows: int, tokens: int, times: int = 1) -> None:
        """Embed made-up ids, the same batch each time."""
        ids = np.random.default_rng(0).integers(1000, 20_000, (rows, tokens))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        for _ in range(times):
            self._session.run(["embedding"], inputs)

    def documents_per_s(self, count: int, threads: int) -> float:
        """Documents each second over all threads."""
        rows = TOKENS_PER_BATCH // DOCUMENT_TOKENS
        times = max(1, count // rows // threads)
        with ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            for done in [pool.submit(self.run, rows, DOCUMENT_TOKENS, times) for _ in range(threads)]:
                done.result()
            return rows * times * threads / (time.perf_counter() - started)

    def query_ms(self) -> list[float]:
        """Milliseconds of each short text."""
        taken = []
        for _ in range(QUERY_COUNT):
            started = time.perf_counter()
            self.run(1, 8)
            taken.append((time.perf_counter() - started) * 1000)
        return taken


async def documents_per_s(embedder: MiniLMEmbedder, documents: Sequence[str], calls: int) -> float:
    share = len(documents) // calls
    started = time.perf_counter()
    await asyncio.gather(*(embedder.embed(documents[n * share : (n + 1) * share]) for n in range(calls)))
    return share * calls / (time.perf_counter() - started)


async def query_ms(embedder: MiniLMEmbedder) -> list[float]:
    taken = []
    for query in texts(QUERY_COUNT, 6, seed=2):
        started = time.perf_counter()
        await embedder.embed([query])
        taken.append((time.perf_counter() - started) * 1000)
    return taken


async def query_beside_documents_ms(embedder: MiniLMEmbedder, documents: Sequence[str]) -> list[float]:
    load = asyncio.create_task(embedder.embed(list(documents) * 50))
    try:
        return await query_ms(embedder)
    finally:
        load.cancel()
        await asyncio.wait([load])


def in_own_process(models_path: Path, documents: list[str]) -> tuple[float, float]:
    """When a fresh process began and ended embedding, after one text to warm up (system-wide monotonic clock)."""

    async def embed() -> tuple[float, float]:
        embedder = MiniLMEmbedder(models_path, threads=1)
        await embedder.embed(["warm"])
        started = time.monotonic()
        await embedder.embed(documents)
        ended = time.monotonic()
        await embedder.close()
        return started, ended

    return asyncio.run(embed())


def two_processes_documents_per_s(models_path: Path, documents: list[str]) -> float:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        spans = [
            done.result() for done in [pool.submit(in_own_process, models_path, documents) for _ in range(2)]
        ]
    return 2 * len(documents) / (max(end for _, end in spans) - min(start for start, _ in spans))


async def measure(models_path: Path, count: int, rounds: int) -> Result:
    await build_in_subprocess(models_path)
    base = memory_mb()
    embedder = MiniLMEmbedder(models_path)
    await query_ms(embedder)
    with_query = memory_mb()
    documents = texts(count, DOCUMENT_TOKENS - 2, seed=1)
    await embedder.embed(documents)
    with_batch = memory_mb()
    floor = Floor(models_path)
    floors, ours, floors_two, ours_two, floor_queries, queries, beside = [], [], [], [], [], [], []
    for _ in range(rounds):
        floors.append(floor.documents_per_s(count, 1))
        ours.append(await documents_per_s(embedder, documents, 1))
        floors_two.append(floor.documents_per_s(count, 2))
        ours_two.append(await documents_per_s(embedder, documents, 2))
        floor_queries.append(np.percentile(floor.query_ms(), 50))
        queries.append(np.percentile(await query_ms(embedder), [50, 95]))
        beside.append(np.percentile(await query_beside_documents_ms(embedder, documents), 95))
    processes = await asyncio.to_thread(two_processes_documents_per_s, models_path, documents)
    await embedder.close()
    p50, p95 = np.median(queries, axis=0)
    return Result(
        documents=count,
        rounds=rounds,
        floor_documents_per_s=statistics.median(floors),
        documents_per_s=statistics.median(ours),
        documents_spread=(min(ours), max(ours)),
        share_of_floor=statistics.median(ours) / statistics.median(floors),
        floor_two_threads_documents_per_s=statistics.median(floors_two),
        two_calls_documents_per_s=statistics.median(ours_two),
        two_processes_documents_per_s=processes,
        floor_query_p50_ms=float(np.median(floor_queries)),
        query_p50_ms=float(p50),
        query_p95_ms=float(p95),
        query_beside_documents_p95_ms=float(np.median(beside)),
        base_mb=base,
        query_mb=with_query - base,
        batch_mb=with_batch - base,
    )


def show(result: Result) -> None:
    table = Table("", "measured", "floor", "target")
    low, high = result.documents_spread
    table.add_row(
        f"documents/s, {DOCUMENT_TOKENS} tokens, one call",
        f"{result.documents_per_s:.0f} ({low:.0f} to {high:.0f})",
        f"{result.floor_documents_per_s:.0f}",
        f"≥ {TARGET_DOCUMENTS_PER_S}",
    )
    table.add_row(
        "documents/s, two calls at once",
        f"{result.two_calls_documents_per_s:.0f}",
        f"{result.floor_two_threads_documents_per_s:.0f}",
    )
    table.add_row("documents/s, two processes", f"{result.two_processes_documents_per_s:.0f}")
    table.add_row("query p50, ms", f"{result.query_p50_ms:.2f}", f"{result.floor_query_p50_ms:.2f}")
    table.add_row("query p95, ms", f"{result.query_p95_ms:.2f}", "", f"≤ {TARGET_QUERY_P95_MS}")
    table.add_row("query p95 beside documents, ms", f"{result.query_beside_documents_p95_ms:.2f}")
    table.add_row("memory of queries, MB", f"{result.query_mb:.0f}", f"process without: {result.base_mb:.0f}")
    table.add_row("memory after documents, MB", f"{result.batch_mb:.0f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=Path, default=CoreSettings().models_path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure(options.models, options.documents, options.rounds))
    show(result)
    if options.json:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
