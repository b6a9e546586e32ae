"""Waiting on conditions, so that no test sleeps for a guessed time."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    probe: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float = 10.0, interval_s: float = 0.02
) -> T: ...


@overload
async def eventually(probe: Callable[[], T], *, timeout_s: float = 10.0, interval_s: float = 0.02) -> T: ...


async def eventually(probe: Callable[[], Any], *, timeout_s: float = 10.0, interval_s: float = 0.02) -> Any:
    """Call the probe until it gives something true, and give that.

    An `AssertionError` in the probe counts as "not yet"; the last one is the reason when time is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        reason: AssertionError | None = None
        value: Any = None
        try:
            value = probe()
            if inspect.isawaitable(value):
                value = await value
        except AssertionError as error:
            value, reason = None, error  # not the coroutine that has failed, which would count as true
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s} s; last value: {value!r}") from reason
        await asyncio.sleep(interval_s)
