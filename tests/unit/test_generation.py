"""That nobody sees removed content in a kept answer: replicas as objects, on one real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.cache import CacheStore
from media_gateway.discovery.cache import (
    FULL_TTL_S,
    AnswerCache,
    Answered,
    AskedSearch,
    CacheState,
    Computed,
    search_key,
)
from media_gateway.discovery.generation import DEBOUNCE_S, KEY, TRUST_S, CatalogueGeneration
from tests.support.waiting import eventually


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Change:
    """An event: a title that is there from now on, or no longer."""

    title: str
    removed: bool = False


class Replica:
    """A discovery process in small: an index fed by events, a cache, and the generation between them."""

    def __init__(self, redis: RedisHandle, events: list[Change], clock: Clock) -> None:
        self.events = events
        self.generation = CatalogueGeneration(redis, clock=clock)
        self.store = CacheStore(redis, patience_ms=5_000)
        self.cache = AnswerCache(self.store)
        self.titles: set[str] = set()
        self.applied = 0
        self.open = asyncio.Event()
        self.open.set()
        self.found = asyncio.Event()

    def start(self) -> None:
        """Build the index from the catalogue of now, as `IndexFeed.follow` does."""
        for change in self.events:
            self._apply(change)
        self.applied = len(self.events)
        self.generation.changed(removed=True, cursor=str(self.applied))

    def catch_up(self, count: int = 1) -> None:
        """Apply the next events, as `IndexFeed` does."""
        batch = self.events[self.applied : self.applied + count]
        for change in batch:
            self._apply(change)
        self.applied += len(batch)
        if batch:
            removed = any(change.removed for change in batch)
            self.generation.changed(removed=removed, cursor=str(self.applied))

    def compare(self) -> None:
        """Remove what the database no longer has, as a periodic comparison does."""
        self.titles.clear()
        self.generation.changed(removed=True, cursor=None)

    def _apply(self, change: Change) -> None:
        (self.titles.discard if change.removed else self.titles.add)(change.title)

    async def search(self) -> Answered:
        key = search_key(
            AskedSearch(
                query="", page=1, page_size=20, ranking_version="1", generation=self.generation.current
            )
        )

        async def compute() -> Computed:
            found = " ".join(sorted(self.titles))
            self.found.set()
            await self.open.wait()
            return Computed(found.encode(), FULL_TTL_S)

        answer = await self.cache.answer(key, compute)
        # The next who asks is to find what has been stored.
        await eventually(lambda: not len(self.cache._flights))
        return answer

    async def shared(self) -> bool:
        """Whether the number in Redis has been heard and told."""
        number = int(await self.store._lookups.get(KEY) or 0)
        return self.generation.current.startswith(f"{number}.")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> list[Change]:
    return [Change("Alien"), Change("Brazil")]


@asynccontextmanager
async def running(redis: RedisHandle, events: list[Change], clock: Clock) -> AsyncIterator[Replica]:
    replica = Replica(redis, events, clock)
    replica.store.longest_lookup_s = 0.0
    replica.cache = AnswerCache(replica.store)
    following = asyncio.create_task(replica.generation.follow())
    replica.start()
    await eventually(replica.shared)
    try:
        yield replica
    finally:
        following.cancel()
        await asyncio.wait([following])
        await replica.cache.close()
        await replica.store.close()


@pytest.fixture
async def a(redis, events, clock) -> AsyncIterator[Replica]:
    async with running(redis, events, clock) as replica:
        yield replica


@pytest.fixture
async def b(redis, events, clock) -> AsyncIterator[Replica]:
    async with running(redis, events, clock) as replica:
        yield replica


async def test_replicas_that_have_applied_the_same_share_answers(a, b):
    assert (await a.search()).state is CacheState.MISS
    answer = await b.search()
    assert (answer.body, answer.state) == (b"Alien Brazil", CacheState.HIT)


async def test_a_removal_is_never_undone_by_a_replica_that_has_not_applied_it(a, b, events):
    events.append(Change("Alien", removed=True))
    a.catch_up()
    late = await b.search()
    assert late.body == b"Alien Brazil"
    assert (await a.search()).body == b"Brazil"
    # Whatever b answers and stores now, a does not see it.
    for _ in range(3):
        assert (await b.search()).body == b"Alien Brazil"
        assert (await a.search()).body == b"Brazil"
    b.catch_up()
    shared = await b.search()
    assert (shared.body, shared.state) == (b"Brazil", CacheState.HIT)


async def test_an_answer_being_computed_when_the_removal_is_applied_is_not_given_afterwards(a, events):
    a.open.clear()
    early = asyncio.create_task(a.search())
    await asyncio.wait_for(a.found.wait(), 10)
    events.append(Change("Alien", removed=True))
    a.catch_up()
    a.open.set()
    assert (await early).body == b"Alien Brazil"
    assert (await a.search()).body == b"Brazil"


async def test_a_removal_moves_the_generation_at_once_and_other_changes_within_the_debounce(a, events, clock):
    first = a.generation.current
    clock.now_s += DEBOUNCE_S
    events.append(Change("Charade"))
    a.catch_up()
    second = a.generation.current
    assert second != first, "after a quiet time nothing is held back"
    for title in ("Duel", "Eraserhead"):
        events.append(Change(title))
        a.catch_up()
        assert a.generation.current == second
    clock.now_s += DEBOUNCE_S
    third = a.generation.current
    assert third != second
    events.append(Change("Duel", removed=True))
    a.catch_up()
    assert a.generation.current not in {first, second, third}


async def test_a_replica_that_starts_late_shares_with_the_others(a, redis, events, clock):
    for title in ("Charade", "Duel"):
        events.append(Change(title))
        a.catch_up()
    clock.now_s += DEBOUNCE_S
    await eventually(a.shared)
    await a.search()
    async with running(redis, events, clock) as late:
        assert (await late.search()).state is CacheState.HIT


async def test_without_a_cursor_nothing_is_shared(redis, events, clock, a):
    lonely = CatalogueGeneration(redis, clock=clock)
    following = asyncio.create_task(lonely.follow())
    await eventually(lambda: lonely._heard_at_s == clock.now_s)
    assert not lonely.current.startswith(a.generation.current.split(".")[0] + ".")
    following.cancel()
    await asyncio.wait([following])


async def test_a_repair_hides_what_was_kept_before_from_everybody(a, b):
    await b.search()
    assert (await a.search()).state is CacheState.HIT
    before = b.generation.current
    a.compare()
    # At once, before Redis has been told.
    assert (await a.search()).body == b""
    await eventually(lambda: b.generation.current != before)
    await eventually(a.shared)
    b.compare()
    await eventually(b.shared)
    await eventually(lambda: a.generation.current == b.generation.current)
    assert (await a.search()).body == b""
    assert (await b.search()).state is CacheState.HIT


async def test_a_number_that_was_lost_does_not_return(a, redis):
    numbers = set()
    for _ in range(3):
        number = int(await redis.client.get(KEY))
        assert number not in numbers
        numbers.add(number)
        await redis.client.delete(KEY)

        async def renewed() -> bool:
            return bool(await redis.client.exists(KEY))

        await eventually(renewed)


async def test_who_does_not_hear_the_number_shares_nothing_until_he_does(redis, events, clock, free_port, a):
    cut_off = CatalogueGeneration(
        RedisHandle(f"redis://127.0.0.1:{free_port}/0", timeout_ms=200), clock=clock
    )
    cut_off.changed(removed=True, cursor=str(len(events)))
    assert cut_off.current.split(".")[1] == a.generation.current.split(".")[1]
    assert cut_off.current != a.generation.current
    shared = a.generation.current
    a.generation._heard_at_s = clock.now_s - TRUST_S - 1
    assert a.generation.current != shared
    await eventually(lambda: a.generation.current == shared)


async def test_following_ends_even_if_the_driver_loses_the_cancellation(redis, monkeypatch):
    generation = CatalogueGeneration(redis)
    asked = asyncio.Event()

    async def deaf() -> None:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(generation, "_exchange", deaf)
    following = asyncio.create_task(generation.follow())
    await asked.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(following, 10)


@dataclass
class Model:
    """Replicas that take steps one after another over one cache, of which nothing is ever forgotten."""

    replicas: list[Replica]
    clock: Clock
    kept: dict[str, frozenset[str]] = field(default_factory=dict)
    begun: list[tuple[Replica, str]] = field(default_factory=list)
    hits: int = 0

    def ask(self, replica: Replica) -> None:
        key = replica.generation.current
        answer = self.kept.get(key)
        if answer is None:
            self.begun.append((replica, key))
            return
        self.hits += 1
        seen = replica.events[: replica.applied]
        last = {change.title: change.removed for change in seen}
        gone = {title for title, removed in last.items() if removed}
        assert not answer & gone, "removed here, and given out from the cache"

    def finish(self) -> None:
        if self.begun:
            replica, key = self.begun.pop(0)
            self.kept[key] = frozenset(replica.titles)


replica_numbers = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("announce"), st.sampled_from("AB"), st.booleans()),
    st.tuples(st.just("apply"), replica_numbers, st.integers(1, 2)),
    st.tuples(st.just("ask"), replica_numbers, st.none()),
    st.tuples(st.just("search"), replica_numbers, st.none()),
    st.tuples(st.just("finish"), st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 2.5]), st.none()),
)


def played(script: list[tuple[Any, Any, Any]]) -> Model:
    clock, events = Clock(), [Change("A")]
    handle = RedisHandle("redis://127.0.0.1:1/0")  # never asked
    model = Model([Replica(handle, events, clock) for _ in range(2)], clock)
    for replica in model.replicas:
        replica.generation._heard_at_s = float("inf")
        replica.start()
    for step, first, second in script:
        match step:
            case "announce":
                events.append(Change(first, removed=second))
            case "apply":
                model.replicas[first].catch_up(second)
            case "ask":
                model.ask(model.replicas[first])
            case "search":
                model.ask(model.replicas[first])
                model.finish()
            case "finish":
                model.finish()
            case "wait":
                clock.now_s += first
            case _:
                raise AssertionError(step)
    return model


@settings(max_examples=400)
@given(st.lists(steps, max_size=40))
def test_no_order_of_events_searches_and_pauses_shows_what_was_removed(script):
    played(script)


def test_the_model_shares_answers():
    script = [("search", 0, None), ("ask", 1, None)]
    assert played(script).hits == 1


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=30))
def test_the_generation_moves_seldom_and_never_late(changes):
    clock = Clock()
    handle = RedisHandle("redis://127.0.0.1:1/0")  # never asked
    generation, fresh = (CatalogueGeneration(handle, clock=clock) for _ in range(2))
    generation.changed(removed=True, cursor="start")
    began_s, moves, removals, current = clock.now_s, 0, 0, generation.current
    for number, (removed, pause_s) in enumerate(changes):
        generation.changed(removed=removed, cursor=str(number))
        removals += removed
        moves += generation.current != current
        current = generation.current
        clock.now_s += pause_s
        moves += generation.current != current
        current = generation.current
        fresh.changed(removed=True, cursor=str(number))
        up_to_date = current.split(".")[1] == fresh.current.split(".")[1]
        assert up_to_date or (pause_s < DEBOUNCE_S and not removed)
    assert moves <= removals + (clock.now_s - began_s) / DEBOUNCE_S + 1
