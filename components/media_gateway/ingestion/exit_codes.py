"""How a process that works on one job ends, and what that means to whoever started it.

Used by ``media-gateway ingest`` and by the job of an IngestionJob; docs/ingestion.md has the table, and the operator gives
up by it.
"""

import signal
from typing import NamedTuple

from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnauthenticatedError,
    UpstreamError,
)
from media_gateway.ingestion.runs import RunCancelledError, RunFailedError


class ExitCode(NamedTuple):
    """How the command ends, after which errors, and what that means."""

    code: int
    errors: tuple[type[MediaGatewayError], ...]
    meaning: str


EXIT_CODES = (
    ExitCode(0, (), "The source was read to its end and everything accepted is committed."),
    ExitCode(
        64,
        (InvalidInputError, PayloadTooLargeError),
        "The command or the manifest is wrong; the field is named.",
    ),
    ExitCode(
        65,
        (RunFailedError, RunCancelledError),
        "The job failed by its own rules (error budget, deadline), or was cancelled.",
    ),
    ExitCode(69, (NotFoundError, UpstreamError), "The source is not there, or answers what can't be used."),
    ExitCode(77, (UnauthenticatedError, PermissionDeniedError), "The source refuses the credentials."),
    ExitCode(78, (NotConfiguredError,), "A setting, a secret, an optional package or the schema is missing."),
    ExitCode(
        1,
        (),
        "Something stayed away for too long, or the command was told to stop (SIGTERM): run it again, it continues.",
    ),
    ExitCode(130, (), "Ctrl-C: as 1."),
    ExitCode(70, (), "An error that should not happen; the log has it."),
)
"""64 to 78 say that running the same command again can't help (sysexits.h). The first row that fits an error holds."""

EXIT_RETRYABLE, EXIT_INTERRUPTED, EXIT_SOFTWARE = 1, 130, 70


def exit_code(error: MediaGatewayError) -> int:
    """Exit status for an error, by `EXIT_CODES`."""
    for row in EXIT_CODES:
        if row.errors and isinstance(error, row.errors):
            return row.code
    # Another process works on the job: later it won't.
    return EXIT_RETRYABLE if error.retryable or isinstance(error, ConflictError) else EXIT_SOFTWARE


def exit_code_after(signal_number: int | None) -> int:
    """Exit status of a run that was stopped by a signal."""
    return EXIT_INTERRUPTED if signal_number == signal.SIGINT else EXIT_RETRYABLE
