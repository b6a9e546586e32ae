"""Writes the generated files of ``charts/``; ``--check`` fails when one is out of date or left over."""

import argparse
import sys
from pathlib import Path

from scripts.charts.outputs import ChartError, leftovers, outputs

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Write or check; 0 when every file is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m scripts.charts", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if a file is out of date or left over"
    )
    check = parser.parse_args().check
    try:
        wanted = outputs(ROOT)
    except ChartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    left = leftovers(ROOT, wanted)
    if check:
        for path in (*stale, *left):
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date; run: make charts\n")
        return 1 if stale or left else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    for path in left:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
