"""Claims about `Deadline`."""

import asyncio

import pytest

from media_gateway.core.deadline import Deadline, current_deadline, deadline_scope
from media_gateway.core.errors import DeadlineExceededError, InvalidInputError


def test_header_carries_what_is_left() -> None:
    assert 0 < int(Deadline.after(500).header) <= 500
    assert Deadline.after(-5).header == "1"


def test_sender_can_shorten_but_not_lengthen_our_limit() -> None:
    assert Deadline.from_header("50", default_ms=1_000).remaining_ms() <= 50
    assert Deadline.from_header("60000", default_ms=1_000).remaining_ms() <= 1_000
    assert 900 < Deadline.from_header(None, default_ms=1_000).remaining_ms() <= 1_000


@pytest.mark.parametrize(
    "value", ["", "0", "-1", "1.5", "1e3", "soon", "\u0665", "99999999999", " 5", "3600001"]
)
def test_unreadable_header_is_named(value: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Deadline.from_header(value, default_ms=1_000)
    assert caught.value.errors[0].field == "X-Request-Deadline-Ms"


async def test_late_block_is_cut_off() -> None:
    with pytest.raises(DeadlineExceededError, match="the search"):
        async with Deadline.after(10).timeout("the search"):
            await asyncio.Event().wait()


async def test_timeout_of_the_block_itself_is_not_renamed() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline.after(10_000).timeout():
            raise TimeoutError


async def test_scope_is_seen_by_tasks_inside_and_gone_outside() -> None:
    deadline = Deadline.after(10_000)
    assert current_deadline() is None
    async with deadline_scope(deadline):
        assert await asyncio.create_task(_current()) is deadline
    assert current_deadline() is None


async def _current() -> Deadline | None:
    return current_deadline()
