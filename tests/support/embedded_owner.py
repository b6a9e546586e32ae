"""Run as a program: opens the private servers of a state folder, says where they are, keeps them until it is told to end.

``python -m tests.support.embedded_owner STATE_FOLDER``; ends on SIGTERM.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.errors import MediaGatewayError


async def serve(state_path: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    postgres, redis = EmbeddedPostgres(state_path), EmbeddedRedis(state_path)
    async with postgres as postgres_url, redis as redis_url:
        said = {
            "postgres_url": postgres_url,
            "redis_url": redis_url,
            "owned": postgres.owned and redis.owned,
            "pids": [postgres.pid, redis.pid],
            "uid": os.geteuid(),
        }
        sys.stdout.write(f"{json.dumps(said)}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(Path(sys.argv[1])))
    except MediaGatewayError as error:
        sys.exit(error.message)
