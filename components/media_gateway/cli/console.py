"""How commands speak: one line for an error, an exit code that says whether trying again can help.

``ingest run`` has a table of its own, since a job ends in more ways (``ingestion/exit_codes.py``); the numbers mean the same.
"""

import sys
from typing import NamedTuple, NoReturn

from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
)


class ExitCode(NamedTuple):
    """How a command ends, after which errors, and what that means."""

    code: int
    errors: tuple[type[MediaGatewayError], ...]
    meaning: str


EXIT_RETRYABLE = 1
EXIT_USAGE = 64
EXIT_SOFTWARE = 70
EXIT_CONFIGURATION = 78
EXIT_INTERRUPTED = 130

EXIT_CODES = (
    ExitCode(0, (), "Done; a command that serves was told to stop, and stopped in good order."),
    ExitCode(
        EXIT_RETRYABLE,
        (),
        "Something is away or took too long; the same command may succeed later. A check (`status`, `doctor`, "
        "`migrate --check`, `eval search --check`) found something.",
    ),
    ExitCode(2, (), "An option or argument does not exist or is of the wrong kind."),
    ExitCode(EXIT_USAGE, (InvalidInputError,), "A value on the command line, or a given file, is wrong."),
    ExitCode(EXIT_SOFTWARE, (), "An error that should not happen; `--debug` shows where it comes from."),
    ExitCode(
        EXIT_CONFIGURATION,
        (NotConfiguredError, ConflictError),
        "A setting is wrong or missing, a port is taken, or `up` already runs on this state folder.",
    ),
    ExitCode(EXIT_INTERRUPTED, (), "Ctrl-C."),
)
"""In order of the codes. 64 to 78 are those of sysexits.h: running the same command again can't help."""


def exit_code(error: MediaGatewayError) -> int:
    """Exit status for an error, by `EXIT_CODES`."""
    for row in EXIT_CODES:
        if row.errors and isinstance(error, row.errors):
            return row.code
    return EXIT_RETRYABLE if error.retryable else EXIT_SOFTWARE


def fail(error: MediaGatewayError) -> NoReturn:
    """End the command with an error's line on standard error."""
    sys.stderr.write(f"{error.message}\n")
    for wrong in error.errors:
        sys.stderr.write(f"  {wrong.field}: {wrong.message}\n")
    raise SystemExit(exit_code(error))
