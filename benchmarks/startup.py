"""Starting: `media-gateway up` until the first search is answered, the first time and again.

First: an empty state folder, so the servers are initialised and 17,472 films loaded; the packages are installed. Again:
the same folder, loaded and with its vectors made. The floor is a Python process that imports what `up` imports and
ends. Run alone on an idle machine, with the pip cache warm:

    .venv/bin/python benchmarks/startup.py [--rounds 5] [--state-dir FOLDER] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from up_process import started

TARGET_FIRST_S = 120
TARGET_AGAIN_S = 8


@dataclass(frozen=True)
class Result:
    """What is reported; seconds, medians of the rounds."""

    rounds: int
    first_s: float | None
    again_s: float
    again_spread: tuple[float, float]
    imports_floor_s: float


def measure(state_path: Path, rounds: int) -> Result:
    is_new = not (state_path / "version.json").exists()
    first_s = None
    with started(state_path) as up:
        if is_new:
            first_s = up.ready_s
        up.wait_for_vectors()
    again, floor = [], []
    for _ in range(rounds):
        floor.append(imports_s())
        with started(state_path) as up:
            again.append(up.ready_s)
    return Result(
        rounds, first_s, statistics.median(again), (min(again), max(again)), statistics.median(floor)
    )


def imports_s() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import media_gateway.cli.up"], check=True)
    return time.monotonic() - began


def show(result: Result) -> None:
    table = Table("start", "seconds", "spread", "target", "floor (imports)")
    if result.first_s is not None:
        table.add_row("first, empty folder", f"{result.first_s:.1f}", "-", f"<= {TARGET_FIRST_S}", "-")
    low, high = result.again_spread
    floor = f"{result.imports_floor_s:.1f}"
    table.add_row("again", f"{result.again_s:.1f}", f"{low:.1f} to {high:.1f}", f"<= {TARGET_AGAIN_S}", floor)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--state-dir", type=Path, help="use this folder instead of a fresh one")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        result = measure(arguments.state_dir or Path(folder) / "state", arguments.rounds)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
