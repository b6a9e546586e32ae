"""Search as people meet it: over HTTP, hits of the cache and misses, autocompletion, memory, how soon a new film is found.

Discovery is a process of its own on one core; load, Postgres and Redis have the others. Floors: a bare aiohttp handler that
reads one answer of the same length from Redis, for hits; one that embeds the same query, for descriptions. Then the text
index and the suggestions alone, in process. The catalogue is that of `media-gateway up`, or a file of your own:

    python benchmarks/search.py [--catalogue FILE] [--rounds 5] [--state-dir FOLDER] [--growth] [--json FILE]

A catalogue file has a JSON object a line (title, year, cast, genres, extract), ``.gz`` or plain. The first run embeds the
films, which takes minutes; vectors are kept. Run alone on an idle machine.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from search_catalogue import records_of
from search_freshness import Freshness, measure_freshness, show_freshness
from search_growth import grow_text, grow_vectors, show_growth
from search_http import Measured, answer_length, measure, paths_of, show
from search_stand import prepare, standing
from text_index import measure_index, show_index

from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.settings import CoreSettings, load_settings

MEMORY_MB = 450
SEED = 5


@dataclass(frozen=True)
class Served:
    """What a running discovery showed; memory in megabytes (10^6 bytes)."""

    films: int
    answer_bytes: int
    paths: list[Measured]
    freshness: Freshness
    pss_mb: float
    rss_mb: float


async def serve(state_path: Path, records: Sequence[SourceRecord], rounds: int) -> Served:
    """Measure a discovery that has the records."""
    async with standing(state_path) as stand:
        paths = paths_of(records, SEED)
        length = await answer_length(stand, paths[0])
        measured = [await measure(stand, path, rounds) for path in paths]
        memory = stand.discovery.process.memory_full_info()
        # Last, since it adds films.
        freshness = await measure_freshness(stand)
        return Served(len(records), length, measured, freshness, memory.pss / 1e6, memory.rss / 1e6)


def show_served(served: Served, console: Console) -> None:
    """The table and what belongs under it."""
    console.print(f"{served.films:,} films; answers of {served.answer_bytes:,} bytes are kept")
    show(served.paths, console)
    console.print(
        f"memory of discovery after that: {served.pss_mb:.0f} MB of PSS, {served.rss_mb:.0f} MB resident "
        f"(target ≤ {MEMORY_MB})"
    )
    show_freshness(served.freshness, console)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--catalogue", type=Path, help="films to search in, instead of the demo's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=300, help="of each kind and round, in process")
    parser.add_argument("--state-dir", type=Path, help="load the films into this folder and use them again")
    parser.add_argument("--growth", action="store_true", help="also up to 300,000 films; takes many minutes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    records = records_of(options.catalogue, load_settings(CoreSettings).state_path / "cache")
    console = Console()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        state_path = Path(folder) / "state"
        prepare(options.state_dir or state_path, records)
        if options.state_dir:
            # A copy, since measuring adds films. With its owners: the servers may have accounts of their own.
            subprocess.run(["cp", "-a", str(options.state_dir), str(state_path)], check=True)
        served = asyncio.run(serve(state_path, records, options.rounds))
    show_served(served, console)
    figures["served"] = asdict(served)
    alone = measure_index(records, options.queries, options.rounds)
    show_index(alone, console)
    figures["in_process"] = asdict(alone)
    if options.growth:
        text, found = grow_text(records), asyncio.run(grow_vectors())
        show_growth(text, found, console)
        figures["growth"] = {"text": [asdict(one) for one in text], "vectors": [asdict(one) for one in found]}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
