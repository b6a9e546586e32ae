"""Computations of which there is one a key at a time."""

import asyncio

import pytest
from structlog.testing import capture_logs

from media_gateway.core.cache.flights import Flights
from media_gateway.core.errors import DeadlineExceededError, UnavailableError
from tests.support.waiting import eventually


async def keep(_key: str, _value: int) -> bool:
    return False


async def test_a_computation_that_hangs_does_not_hold_its_key_for_ever():
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
    async def cancelled() -> int:
        raise asyncio.CancelledError

    flights: Flights[int] = Flights(keep)
    with pytest.raises(UnavailableError, match="interrupted"):
        await flights.result("key", cancelled)
    await eventually(lambda: not len(flights))


async def test_keys_are_computed_beside_each_other():
    both = asyncio.Barrier(2)

    async def compute() -> int:
        await both.wait()
        return 1

    flights: Flights[int] = Flights(keep)
    computing = (flights.result("one", compute), flights.result("other", compute))
    assert list(await asyncio.wait_for(asyncio.gather(*computing), 10)) == [1, 1]


async def test_a_result_that_can_not_be_kept_is_given_logged_and_forgotten():
    async def broken(_key: str, _value: int) -> bool:
        raise OSError("no room")

    async def compute() -> int:
        return 1

    flights: Flights[int] = Flights(broken, linger_s=60)
    with capture_logs() as logs:
        assert await flights.result("key", compute) == 1
        await eventually(lambda: not len(flights))
    assert [log["event"] for log in logs] == ["a computed value could not be kept"]
