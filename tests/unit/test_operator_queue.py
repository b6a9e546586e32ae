"""The operator's queue: nothing is lost, nothing is done twice at once, nobody starves."""

import asyncio
from collections import Counter

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from media_gateway.core.supervisor import Backoff
from media_gateway_operator.engine.queue import PASSED, FairQueue, WorkQueue, jittered
from media_gateway_operator.kube.kinds import INGESTION_JOB, Ref
from tests.support.waiting import eventually

QUICK = Backoff(base_s=0.001, max_s=0.01)


def key(namespace: str, name: str) -> Ref:
    return Ref(INGESTION_JOB, namespace, name)


KEYS = st.builds(key, st.sampled_from("abc"), st.sampled_from("123"))


class QueueMachine(RuleBasedStateMachine):
    """Compared with what must be true of any queue: a set of marks."""

    def __init__(self):
        super().__init__()
        self.queue = FairQueue()
        self.marked = set()
        self.running = set()
        self.in_line = 0
        self.clock = 0.0

    @rule(key=KEYS, patient=st.booleans())
    def add(self, key, patient):
        self.clock += 1
        self.in_line += self.queue.add(key, self.clock, patient=patient)
        self.marked.add(key)

    @rule()
    def take(self):
        taken = self.queue.take()
        assert (taken is None) == (self.in_line == 0)
        if taken is None:
            return
        key, since = taken
        assert key in self.marked, "given out without having been added"
        assert key not in self.running, "two at once for one key"
        assert since <= self.clock
        self.in_line -= 1
        self.marked.discard(key)
        self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data):
        key = data.draw(st.sampled_from(sorted(self.running, key=str)))
        self.running.discard(key)
        self.in_line += self.queue.done(key)

    @invariant()
    def no_key_is_lost(self):
        assert len(self.queue) == len(self.marked)
        assert self.in_line == len(self.marked - self.running)

    def teardown(self):
        for key in self.running:
            self.queue.done(key)
        left = set()
        while taken := self.queue.take():
            left.add(taken[0])
            self.queue.done(taken[0])
        assert left == self.marked
        for line in (self.queue._prompt, self.queue._patient):
            assert not line.since
            assert not line._places
        assert not self.queue._again
        assert not self.queue._running


TestFairQueue = QueueMachine.TestCase
TestFairQueue.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_namespaces_take_turns_however_long_one_line_is():
    queue = FairQueue()
    for number in range(1000):
        queue.add(key("big", str(number)), 0.0)
    queue.add(key("small", "one"), 1.0)
    queue.add(key("small", "two"), 1.0)
    taken = [turn[0] for turn in (queue.take() for _ in range(4)) if turn]
    assert Counter(one.namespace for one in taken) == {"big": 2, "small": 2}


def names(queue: FairQueue, count: int) -> list[str]:
    return [turn[0].name for turn in (queue.take() for _ in range(count)) if turn]


def test_patient_keys_let_others_pass():
    queue = FairQueue()
    for number in range(100):
        queue.add(key("a", f"old-{number}"), 0.0, patient=True)
    queue.add(key("a", "new"), 1.0)
    assert names(queue, 2) == ["new", "old-0"]


def test_patient_keys_do_not_starve():
    queue = FairQueue()
    for number in range(100):
        queue.add(key("a", f"new-{number}"), 0.0)
    queue.add(key("a", "old"), 1.0, patient=True)
    queue.add(key("b", "old-too"), 1.0, patient=True)
    taken = names(queue, 2 * (PASSED + 1))
    assert [taken[PASSED], taken[-1]] == ["old", "old-too"]


def test_patient_key_that_changes_passes_the_others_and_keeps_its_time():
    queue = FairQueue()
    for name in ("1", "2", "3"):
        assert queue.add(key("a", name), float(name), patient=True)
    assert not queue.add(key("a", "3"), 9.0)
    assert not queue.add(key("a", "3"), 10.0, patient=True)
    assert queue.take() == (key("a", "3"), 3.0)
    assert names(queue, 3) == ["1", "2"]


def test_oldest_is_the_first_in_line():
    queue = FairQueue()
    assert queue.oldest() is None
    queue.add(key("a", "1"), 5.0)
    queue.add(key("b", "1"), 3.0)
    assert queue.oldest() == 3.0


class Work:
    """Counts, and finishes when told."""

    def __init__(self) -> None:
        self.done: Counter[Ref] = Counter()
        self.open = asyncio.Event()
        self.open.set()
        self.at_once: Counter[Ref] = Counter()
        self.most = 0
        self.error: Exception | None = None

    async def __call__(self, key: Ref) -> None:
        self.at_once[key] += 1
        self.most = max(self.most, *self.at_once.values())
        await self.open.wait()
        self.at_once[key] -= 1
        self.done[key] += 1
        if self.error:
            raise self.error


@pytest.fixture
async def work():
    return Work()


@pytest.fixture
async def queue(work):
    queue = WorkQueue("Test", work, 4, QUICK)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()
    await asyncio.wait({task})


async def test_key_marked_while_worked_on_is_worked_on_once_more(queue, work):
    work.open.clear()
    queue.add(key("a", "1"))
    await eventually(lambda: work.at_once[key("a", "1")])
    for _ in range(5):
        queue.add(key("a", "1"))
    work.open.set()
    await eventually(lambda: work.done[key("a", "1")] == 2)
    queue.add(key("a", "other"))
    await eventually(lambda: work.done[key("a", "other")] == 1)
    assert work.done[key("a", "1")] == 2
    assert len(queue) == 0


async def test_thousand_marks_from_all_sides_end_with_an_empty_line(queue, work):
    keys = [key(namespace, str(number)) for namespace in "abc" for number in range(20)]
    for _ in range(20):
        for one in keys:
            queue.add(one)
        await asyncio.sleep(0)
    await eventually(lambda: len(queue) == 0)
    assert set(work.done) == set(keys)
    assert work.most == 1


async def test_failed_key_is_tried_again_until_it_succeeds(queue, work):
    work.error = RuntimeError("once")
    queue.add(key("a", "1"))
    await eventually(lambda: work.done[key("a", "1")] >= 3)
    work.error = None
    assert queue.failed(key("a", "1")) >= 3
    queue.succeeded(key("a", "1"))
    assert queue.failed(key("a", "1")) == 1


async def test_pause_is_never_shorter_than_the_server_asks(queue, work):
    queue.failed(key("a", "1"), at_least_s=30.0)
    (timer,) = queue._timers.values()
    assert timer.when() - asyncio.get_running_loop().time() > 29


async def test_newer_wish_replaces_an_older_one(queue, work):
    queue.add_after(key("a", "1"), 600)
    queue.add_after(key("a", "1"), 0.01)
    await eventually(lambda: work.done[key("a", "1")] == 1)
    assert queue.remembered == 0


async def test_reconciler_cannot_make_the_loop_hot(queue):
    queue.add_after(key("a", "1"), -5)
    (timer,) = queue._timers.values()
    assert timer.when() - asyncio.get_running_loop().time() > 0.01


async def test_forgotten_key_leaves_nothing(queue):
    for number in range(100):
        queue.failed(key("a", str(number)))
        queue.forget(key("a", str(number)))
    assert queue.remembered == 0


def test_resync_is_spread_over_a_tenth():
    drawn = [jittered(600) for _ in range(200)]
    assert all(540 <= one <= 600 for one in drawn)
    assert max(drawn) - min(drawn) > 20
