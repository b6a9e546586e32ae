"""``python -m media_gateway.core.migrations``: the schema to this release; what the migration Job of a cluster runs.

Exit statuses: 0 done (or nothing to do); 1 the database stayed away, try again; 78 a setting is wrong; 70 anything else.
"""

import asyncio
import signal
import sys
from types import FrameType

import structlog

from media_gateway.core import migrations
from media_gateway.core.deadline import Deadline
from media_gateway.core.errors import MediaGatewayError, NotConfiguredError
from media_gateway.core.retry import RetryPolicy, retry_with_backoff
from media_gateway.core.settings import CoreSettings, load_settings
from media_gateway.core.telemetry import configure_logging

PATIENCE_S = 60
"""How long a database that is away is waited for; whoever started this may then try again."""

PATIENT = RetryPolicy(max_retries=1_000, base_delay_ms=200, max_delay_ms=2_000)

EXIT_RETRYABLE, EXIT_SOFTWARE, EXIT_CONFIGURATION = 1, 70, 78

_log = structlog.get_logger(__name__)


def main() -> int:
    """Migrate; the last log line of a failure is its reason."""
    # A container's first process ignores a signal that it has no handler for. What is interrupted is rolled back.
    signal.signal(signal.SIGTERM, _end)
    try:
        settings = load_settings(CoreSettings)
    except NotConfiguredError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_CONFIGURATION
    configure_logging(settings, service="migrate")
    try:
        asyncio.run(_migrate(settings))
    except MediaGatewayError as error:
        status = EXIT_RETRYABLE if error.retryable else EXIT_SOFTWARE
        status = EXIT_CONFIGURATION if isinstance(error, NotConfiguredError) else status
        _log.error(error.message, exit_code=status)
        return status
    return 0


async def _migrate(settings: CoreSettings) -> None:
    url = settings.database_url.get_secret_value()
    if url.startswith("embedded:"):
        raise NotConfiguredError("MEDIA_GATEWAY_DATABASE_URL: must be the URL of the database to migrate")

    told = False

    async def attempt() -> None:
        nonlocal told
        try:
            before = await migrations.current(url)
        except MediaGatewayError as error:
            if error.retryable and not told:
                told = True
                _log.warning("waits for the database", problem=error.message)
            raise
        await migrations.migrate(url)
        _log.info("the schema is of this release", revision=migrations.head(), before=before)

    await retry_with_backoff(attempt, PATIENT, deadline=Deadline.after(PATIENCE_S * 1000))


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(EXIT_RETRYABLE)


if __name__ == "__main__":
    sys.exit(main())
