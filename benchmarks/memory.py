"""Memory of `media-gateway up` with the demo catalogue: proportional set size (PSS) of all its processes, servers too.

Shared pages count once (each process is charged its part), unlike in resident sizes. Measured when the vectors are made
and again after searches. The floor is a bare interpreter with the same modules imported. Linux only; as an ordinary user
or as root:

    .venv/bin/python benchmarks/memory.py [--searches 300] [--state-dir FOLDER] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from up_process import Up, started

TARGET_MB = 700
QUERIES = (
    "the godfather",
    "war in the desert",
    "french comedy with louis de funes",
    "space",
    "alien 1979",
    "love",
)


@dataclass(frozen=True)
class Result:
    """Megabytes (10^6 bytes) of PSS."""

    idle_mb: float
    after_searches_mb: float
    by_process_mb: dict[str, float]
    imports_floor_mb: float


def measure(state_path: Path, searches: int) -> Result:
    with started(state_path) as up:
        up.wait_for_vectors()
        idle = pss_by_process(up)
        search(up, searches)
        after = pss_by_process(up)
    return Result(sum(idle.values()), sum(after.values()), after, floor_mb())


def pss_by_process(up: Up) -> dict[str, float]:
    """PSS of the process and all below it, summed by name."""
    sums: dict[str, float] = {}
    root = psutil.Process(up.process.pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.Error, OSError):
            name = "media-gateway" if process == root else process.name()
            sums[name] = sums.get(name, 0.0) + pss_bytes(process.pid) / 1e6
    return sums


def pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def search(up: Up, count: int) -> None:
    url = f"{up.ready['urls']['discovery']}/api/v1/search"
    for number in range(count):
        body = json.dumps({"query": QUERIES[number % len(QUERIES)]}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()


def floor_mb() -> float:
    program = "import media_gateway.cli.up, time; print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        return pss_bytes(process.pid) / 1e6
    finally:
        process.kill()
        process.communicate()


def show(result: Result) -> None:
    table = Table("memory (PSS)", "MB", "target", "floor (imports)")
    floor = f"{result.imports_floor_mb:.0f}"
    table.add_row("demo loaded, vectors made", f"{result.idle_mb:.0f}", f"<= {TARGET_MB}", floor)
    table.add_row("after searches", f"{result.after_searches_mb:.0f}", f"<= {TARGET_MB}", floor)
    for name, size_mb in sorted(result.by_process_mb.items(), key=lambda item: -item[1]):
        table.add_row(f"  of that {name}", f"{size_mb:.0f}", "", "")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--state-dir", type=Path, help="use this folder instead of a fresh one")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mgw-bench-") as folder:
        result = measure(arguments.state_dir or Path(folder) / "state", arguments.searches)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
