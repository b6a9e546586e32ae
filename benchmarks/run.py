"""Runs benchmarks one after another and keeps their tables in ``docs/benchmarks.md``.

    make bench                   every benchmark, tables to the terminal
    make bench NAME=upsert       one of them (names with | between them for several)
    make bench NAME=search ARGS="--catalogue films.ndjson.gz"    with options of that benchmark's own
    make bench WRITE=1           also renews the sections of docs/benchmarks.md

Each benchmark measures its floor in the same run, so a table is true for the machine and the hour it was made in; the
ratio to the floor is what to compare. Run on an idle machine.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"

BENCHMARKS = {
    "startup": "Start of `media-gateway up`",
    "memory": "Memory of `media-gateway up` with the demo catalogue",
    "upsert": "Upsert with identity resolution",
    "embedding": "Embedding",
    "vectors": "Vector search",
    "relay": "Outbox relay and bus",
    "search": "Search",
    "auth": "Signing in",
    "gateway": "The gateway",
    "limiter": "Rate limits",
    "operator": "The operator at 5,000 custom resources",
}

FILES = {"operator": "kube_operator"}
"""Where the file has another name: an ``operator.py`` here would shadow the standard library."""

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
"""Unconfigured structlog prints to standard output; the document wants the tables only."""

INTRODUCTION = """# Benchmarks

Made by `make bench WRITE=1`, a section by `make bench NAME=<name> WRITE=1`. Every figure stands beside its floor from the
same run: what the same machine does at that moment without our code. Ratios travel between machines, times do not.
"""


def machine() -> str:
    """One line about where the figures were taken."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.machine(),
    )
    moment = datetime.now(UTC)
    return (
        f"{moment:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores of {model}, Python {platform.python_version()}"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def run(name: str, options: Sequence[str] = ()) -> str:
    """Run one benchmark with options of its own; gives what it printed.

    Raises
    ------
    SystemExit
        It failed; its output was shown.
    """
    command = [sys.executable, str(HERE / f"{FILES.get(name, name)}.py"), *options]
    # A wide, colourless table reads the same in a terminal and in a document.
    environment = {
        **os.environ,
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    table = "\n".join(line for line in done.stdout.splitlines() if not _LOG_LINE.match(line))
    sys.stdout.write(table + "\n")
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(f"benchmark {name} failed with {done.returncode}")
    return table.rstrip()


def write(name: str, output: str, options: str = "") -> None:
    """Renew the section of one benchmark in the document."""
    command = f"make bench NAME={name}" + (f' ARGS="{options}"' if options else "")
    section = f"## {BENCHMARKS[name]}\n\n`{command}` – {machine()}\n\n```text\n{output}\n```\n"
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else INTRODUCTION
    parts = dict(re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", text))
    parts[BENCHMARKS[name]] = section.partition("\n")[2]
    ordered = [f"## {title}\n{parts[title].rstrip()}\n" for title in BENCHMARKS.values() if title in parts]
    DOCUMENT.write_text(INTRODUCTION + "\n" + "\n".join(ordered), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", default=list(BENCHMARKS), choices=list(BENCHMARKS), metavar="NAME"
    )
    parser.add_argument("--write", action="store_true", help="renew docs/benchmarks.md")
    parser.add_argument("--options", default="", help="handed on to the benchmark")
    arguments = parser.parse_args()
    for name in arguments.names:
        sys.stdout.write(f"\n# {name}: {BENCHMARKS[name]}\n")
        output = run(name, shlex.split(arguments.options))
        if arguments.write:
            write(name, output, arguments.options)


if __name__ == "__main__":
    main()
