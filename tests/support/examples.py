"""Property tests of what runs in the event loop: hypothesis in a thread, each example in the loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy


async def for_all(
    check: Callable[..., Coroutine[Any, Any, None]],
    *,
    max_examples: int = 100,
    timeout_s: float = 60.0,
    **strategies: SearchStrategy[Any],
) -> None:
    """Let ``check`` hold for all examples; its parameters are the names of the strategies."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=max_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(**strategies)
    def run(**values: Any) -> None:
        asyncio.run_coroutine_threadsafe(check(**values), loop).result(timeout_s)

    await asyncio.to_thread(run)
