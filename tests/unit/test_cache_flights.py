"""Computations that several callers wait for, and that do not end as they should."""

import asyncio

import pytest

from media_gateway.core.errors import DeadlineExceededError, UnavailableError
from media_gateway.discovery.cache.flights import Flights
from tests.support.waiting import eventually


async def test_a_computation_that_hangs_does_not_hold_its_key_for_ever():
    async def keep(_key: str, _value: int) -> bool:
        return False

    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    async def work() -> int:
        return 1

    flights: Flights[int] = Flights(keep, limit_ms=50)
    with pytest.raises(DeadlineExceededError):
        await flights.result("key", hang)
    assert await flights.result("key", work) == 1
    await eventually(lambda: not len(flights))


async def test_a_computation_cancelled_from_within_is_an_error_for_those_who_wait():
    async def keep(_key: str, _value: int) -> bool:
        return False

    async def cancelled() -> int:
        raise asyncio.CancelledError

    flights: Flights[int] = Flights(keep)
    with pytest.raises(UnavailableError, match="interrupted"):
        await flights.result("key", cancelled)
    await eventually(lambda: not len(flights))
