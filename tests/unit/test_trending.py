import asyncio
from uuid import UUID

import pytest

from media_gateway.core.errors import UnavailableError
from media_gateway.discovery.documents import IndexedContent, Trend
from media_gateway.discovery.trending import FRESH_S, KEPT_ANSWERS, TrendBoard


class Catalogue:
    """Answers with what it holds when it is let go, and remembers what it was asked."""

    def __init__(self) -> None:
        self.size = 100
        self.asked: list[tuple[int, str | None, str | None]] = []
        self.fails = False
        self.open = asyncio.Event()
        self.open.set()

    async def trending(self, *, limit: int, region: str | None, content_type: str | None) -> list[Trend]:
        self.asked.append((limit, region, content_type))
        await self.open.wait()
        if self.fails:
            raise UnavailableError("the database is away")
        return [trend(number) for number in range(min(limit, self.size))]


def trend(number: int) -> Trend:
    content = IndexedContent(content_id=UUID(int=number), revision=1, content_type="movie", title=str(number))
    return Trend(content, 1 / (number + 1))


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture
def board(catalogue, clock) -> TrendBoard:
    return TrendBoard(catalogue, clock=clock)


async def ask(board: TrendBoard, limit: int = 20, region: str | None = None) -> int:
    return len(await board.trending(limit=limit, region=region, content_type=None))


async def test_callers_at_the_same_time_share_one_reading(board, catalogue):
    catalogue.open.clear()
    callers = [asyncio.create_task(ask(board, limit)) for limit in (5, 20, 1)]
    await asyncio.sleep(0)
    catalogue.open.set()
    assert await asyncio.gather(*callers) == [5, 20, 1]
    assert catalogue.asked == [(20, None, None)]


async def test_a_caller_who_goes_away_leaves_the_reading_to_the_others(board, catalogue):
    catalogue.open.clear()
    leaving, staying = (asyncio.create_task(ask(board)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    catalogue.open.set()
    assert await staying == 20
    assert len(catalogue.asked) == 1


async def test_a_changed_catalogue_shows_once_the_answer_is_old(board, catalogue, clock):
    assert await ask(board) == 20
    catalogue.size = 3
    clock.now_s += FRESH_S - 0.1
    assert await ask(board) == 20
    clock.now_s += 0.1
    assert await ask(board) == 3
    assert len(catalogue.asked) == 2


async def test_other_questions_are_asked_apart(board, catalogue):
    await ask(board, 20)
    await ask(board, 21)
    await ask(board, 20, "GB")
    await ask(board, 100)
    assert catalogue.asked == [(20, None, None), (100, None, None), (20, "GB", None)]


async def test_a_failure_is_told_to_those_who_wait_and_not_kept(board, catalogue):
    catalogue.fails = True
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await ask(board)
    catalogue.fails = False
    assert await ask(board) == 20
    assert len(catalogue.asked) == 3


async def test_answers_kept_are_bounded(board, catalogue):
    for number in range(KEPT_ANSWERS + 1):
        await ask(board, region=str(number))
    await ask(board, region="1")
    assert len(catalogue.asked) == KEPT_ANSWERS + 1
    await ask(board, region="0")
    assert len(catalogue.asked) == KEPT_ANSWERS + 2
