"""How commands speak: one line for an error, an exit code that says whether trying again can help."""

import sys
from typing import NoReturn

from media_gateway.core.errors import InvalidInputError, MediaGatewayError, NotConfiguredError

EXIT_RETRYABLE = 1
EXIT_DATA = 65
EXIT_SOFTWARE = 70
EXIT_CONFIGURATION = 78
EXIT_INTERRUPTED = 130
"""As in sysexits.h: 64 to 78 say that running the same command again can't help. 130 is the shell's for Ctrl-C."""


def exit_code(error: MediaGatewayError) -> int:
    """Exit status for an error."""
    if isinstance(error, NotConfiguredError):
        return EXIT_CONFIGURATION
    if isinstance(error, InvalidInputError):
        return EXIT_DATA
    return EXIT_RETRYABLE if error.retryable else EXIT_SOFTWARE


def fail(error: MediaGatewayError) -> NoReturn:
    """End the command with an error's line on standard error."""
    sys.stderr.write(f"{error.message}\n")
    for wrong in error.errors:
        sys.stderr.write(f"  {wrong.field}: {wrong.message}\n")
    raise SystemExit(exit_code(error))
