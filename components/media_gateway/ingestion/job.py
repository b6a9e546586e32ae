"""``python -m media_gateway.ingestion.job FILE``: works on one manifest and ends; what the Job of an IngestionJob runs.

As ``media-gateway ingest run`` without a terminal: log lines on standard error, of which the last one of a failed run is
the reason, and reports to the operator. Exit statuses: `exit_codes`.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

USAGE = "usage: python -m media_gateway.ingestion.job MANIFEST\n"


def main() -> int:
    """Work on the manifest named on the command line."""
    # A container's first process ignores a signal that it has no handler for, and importing takes a second.
    signal.signal(signal.SIGTERM, _end_early)
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(USAGE)
        return 64
    from media_gateway.ingestion.job_run import run_job

    return run_job(Path(sys.argv[1]))


def _end_early(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)  # nothing has begun: run it again


if __name__ == "__main__":
    sys.exit(main())
