import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from media_gateway.core.errors import UnavailableError
from media_gateway.discovery.decay import Window
from media_gateway.discovery.documents import IndexedContent
from media_gateway.discovery.store.trends import Active, Scope
from media_gateway.discovery.trending import FRESH_S, KEPT_ANSWERS, PART, Question, TrendBoard


class Demand:
    """Answers with what it holds when it is let go, and remembers what it was asked."""

    def __init__(self) -> None:
        self.size = 100
        self.activity: list[Active] = []
        self.asked: list[tuple[Window, str | None]] = []
        self.asked_catalogue: list[tuple[int, str | None]] = []
        self.removed: set[UUID] = set()
        self.elsewhere: set[UUID] = set()
        self.looked_up = 0
        self.fails = False
        self.open = asyncio.Event()
        self.open.set()

    async def most_active(self, window: Window, region: str | None) -> list[Active]:
        self.asked.append((window, region))
        await self.open.wait()
        if self.fails:
            raise UnavailableError("the database is away")
        return self.activity

    async def standings(self, content_ids: Sequence[UUID], scope: Scope) -> dict[UUID, float]:
        self.looked_up += len(content_ids)
        return {one: standing(one.int) for one in content_ids if one not in self.elsewhere}

    async def best(self, scope: Scope, *, limit: int) -> dict[UUID, float]:
        self.asked_catalogue.append((limit, scope.region))
        return {content(number): standing(number) for number in range(min(limit, self.size))}

    async def contents(self, content_ids: Sequence[UUID]) -> dict[UUID, IndexedContent]:
        return {
            one: IndexedContent(content_id=one, revision=1, content_type="movie", title=str(one.int))
            for one in content_ids
            if one not in self.removed
        }


def content(number: int) -> UUID:
    return UUID(int=number)


def standing(number: int) -> float:
    return 1 / (number + 1)


def active(number: int, counted: float, usual: float = 0.0) -> Active:
    return Active(content(number), counted, usual)


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def demand() -> Demand:
    return Demand()


@pytest.fixture
def board(demand, clock) -> TrendBoard:
    return TrendBoard(demand, clock=clock)


async def ask(
    board: TrendBoard, limit: int = 20, region: str | None = None, window: Window = Window.WEEK
) -> list[tuple[int, float, bool]]:
    trends = await board.trending(Question(window, Scope(region), limit))
    return [(one.content.content_id.int, one.trending_score, one.active) for one in trends]


async def test_without_activity_the_order_is_the_catalogue_s(board):
    assert await ask(board, 3) == [(0, 1.0, False), (1, 0.5, False), (2, 0.3333, False)]


async def test_activity_adds_to_what_the_catalogue_says(board, demand):
    demand.activity = [active(1, 4.0), active(3, 6.0)]
    assert await ask(board, 4) == [(0, 1.0, False), (1, 0.9, True), (3, 0.85, True), (2, 0.3333, False)]


async def test_a_content_that_is_always_busy_stands_where_the_catalogue_has_it(board, demand):
    demand.activity = [active(5, 1_000.0, usual=45 / 3.5 * 1_000.0)]
    assert (5, round(standing(5), 4), True) in await ask(board, 10)
    demand.activity = [active(5, 1_000.0, usual=100.0)]
    board = TrendBoard(demand)
    assert (await ask(board, 1))[0][0] == 5


async def test_the_catalogue_is_left_alone_where_activity_fills_the_list(board, demand):
    demand.activity = [active(number, 20.0 + 10 * number) for number in range(20)]
    assert [number for number, _, _ in await ask(board, 20)] == list(range(19, -1, -1))
    assert demand.asked_catalogue == []
    await ask(board, 21)
    assert demand.asked_catalogue == [(100, None)]


async def test_equals_come_by_their_id(board, demand):
    demand.size = 0
    demand.activity = [active(10**20 + number, 3.0) for number in (7, 3, 5)]
    assert [number - 10**20 for number, _, _ in await ask(board)] == [3, 5, 7]


async def test_a_removed_content_is_left_out(board, demand):
    demand.activity = [active(1, 50.0)]
    demand.removed = {content(0), content(1)}
    assert [number for number, _, _ in await ask(board, 5)] == [2, 3, 4, 5, 6]


async def test_no_more_contents_are_looked_up_than_can_be_among_the_first(board, demand):
    demand.size = 0
    demand.activity = [active(number, 2.0 * number) for number in range(1, 4 * PART)]
    everything = sorted((-(standing(n) + 2.0 * n / 10), n) for n in range(1, 4 * PART))
    assert [number for number, _, _ in await ask(board, 20)] == [number for _, number in everything[:20]]
    assert demand.looked_up == PART
    # Of those looked up first nothing is offered there.
    demand.elsewhere = {content(number) for number in range(2 * PART, 4 * PART)}
    found = [number for number, _, _ in await ask(board, 20, "GB")]
    assert found == [number for _, number in everything if number < 2 * PART][:20]


@given(
    st.lists(st.floats(0, 40), min_size=PART, max_size=3 * PART),
    st.randoms(use_true_random=False),
    st.integers(1, 100),
)
@settings(max_examples=20)
async def test_looking_up_in_parts_finds_what_looking_up_everything_finds(counts, rng, limit):
    demand = Demand()
    demand.size = 0
    numbers = rng.sample(range(10_000), len(counts))
    demand.activity = [active(number, counted) for number, counted in zip(numbers, counts, strict=True)]
    scores = {
        number: standing(number) + counted / 10 for number, counted in zip(numbers, counts, strict=True)
    }
    best = sorted(numbers, key=lambda number: (-scores[number], number))[:limit]
    assert [number for number, _, _ in await ask(TrendBoard(demand), limit)] == best


async def test_callers_at_the_same_time_share_one_reading(board, demand):
    demand.open.clear()
    callers = [asyncio.create_task(ask(board, limit)) for limit in (5, 20, 1)]
    await asyncio.sleep(0)
    demand.open.set()
    assert [len(found) for found in await asyncio.gather(*callers)] == [5, 20, 1]
    assert demand.asked == [(Window.WEEK, None)]


async def test_a_caller_who_goes_away_leaves_the_reading_to_the_others(board, demand):
    demand.open.clear()
    leaving, staying = (asyncio.create_task(ask(board)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    demand.open.set()
    assert len(await staying) == 20
    assert len(demand.asked) == 1


async def test_a_changed_catalogue_shows_once_the_answer_is_old(board, demand, clock):
    assert len(await ask(board)) == 20
    demand.size = 3
    clock.now_s += FRESH_S - 0.1
    assert len(await ask(board)) == 20
    clock.now_s += 0.1
    assert len(await ask(board)) == 3
    assert len(demand.asked) == 2


async def test_other_questions_are_asked_apart(board, demand):
    await ask(board, 20)
    await ask(board, 21)
    await ask(board, 20, "GB")
    await ask(board, 100)
    await ask(board, 20, window=Window.DAY)
    assert demand.asked == [
        (Window.WEEK, None),
        (Window.WEEK, None),
        (Window.WEEK, "GB"),
        (Window.DAY, None),
    ]
    assert demand.asked_catalogue == [(20, None), (100, None), (20, "GB"), (20, None)]


async def test_counts_of_a_window_and_region_are_read_once(board, demand, clock):
    demand.activity = [active(1, 4.0)]
    for _ in range(2):
        assert await board.counts(Window.DAY, "GB") == {content(1): 4.0}
    clock.now_s += FRESH_S
    await board.counts(Window.DAY, "GB")
    assert demand.asked == [(Window.DAY, "GB")] * 2


async def test_a_failure_is_told_to_those_who_wait_and_not_kept(board, demand):
    demand.fails = True
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await ask(board)
    demand.fails = False
    assert len(await ask(board)) == 20
    assert len(demand.asked) == 3


async def test_answers_kept_are_bounded(board, demand):
    for number in range(KEPT_ANSWERS + 1):
        await ask(board, region=str(number))
    await ask(board, region="1")
    assert len(demand.asked) == KEPT_ANSWERS + 1
    await ask(board, region="0")
    assert len(demand.asked) == KEPT_ANSWERS + 2
