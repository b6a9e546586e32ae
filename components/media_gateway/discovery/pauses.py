"""Waiting while the database or the bus is away. Used by the tasks that follow events."""

import asyncio
from typing import Final

RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between tries, in seconds; the last one repeats."""


async def pause(failures: int) -> None:
    """Wait before the next try, the longer, the more have failed before (from 0)."""
    await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])


def leave_if_cancelled() -> None:
    """End a task whose cancellation was lost: `asyncio.wait_for`, by which redis-py sends, may do so before Python 3.12.

    CPython issue 86296.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
