"""Recording of batches that commit out of order, twice, or after their lease is gone."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.ingestion.runs import Counts, DeadLetter, LeaseLostError, NewRun, Outcome
from media_gateway.ingestion.services.recorder import Recorder
from media_gateway.ingestion.store_runs import RunStore

LONG = timedelta(minutes=1)


def outcome(number: int) -> Outcome:
    letter = DeadLetter(line=number, position=str(number), source_id=None, field="f", reason="r", excerpt="e")
    return Outcome(
        first=number,
        batches=1,
        counts=Counts(read=10, created=9, failed=1),
        dead_letters=[letter],
        checkpoint=f"after {number}",
        cursor=str(100 - number),
    )


class Run:
    """A claimed run and its recorder, with batches written as the pipeline writes them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = RunStore(database)
        self.owner = uuid4()
        self.id: UUID = uuid4()

    async def begin(self) -> "Run":
        new = NewRun(
            name="films", source="films", spec_hash="x", manifest={}, origin="cli", mode="Full", dry_run=False
        )
        self.id = (await self.store.open(new)).id
        claimed = await self.store.claim(self.id, self.owner, LONG)
        assert claimed is not None
        self.recorder = Recorder(self.store, claimed, self.owner)
        return self

    async def write(self, number: int) -> None:
        async with self.database.transaction() as connection:
            await self.recorder.within(connection, outcome(number))

    async def commit(self, number: int) -> None:
        await self.write(number)
        await self.recorder.committed(outcome(number))

    async def state(self) -> tuple[int, str | None, int, list[int | None]]:
        run = await self.store.get(self.id)
        letters = await self.store.dead_letters(self.id, after=0, limit=100)
        return run.recorded, run.checkpoint, run.counts.read, [letter.line for letter in letters]


@pytest.fixture
async def run(database: Database) -> Run:
    return await Run(database).begin()


async def test_checkpoint_never_passes_a_batch_that_is_not_committed(run: Run):
    await run.commit(1)
    await run.commit(2)
    assert await run.state() == (0, None, 0, [])

    await run.commit(0)

    assert await run.state() == (3, "after 2", 30, [0, 1, 2])
    assert run.recorder.counts.read == 30
    await run.commit(4)
    await run.commit(3)
    assert await run.state() == (5, "after 4", 50, [0, 1, 2, 3, 4])


async def test_batch_that_waited_is_recorded_as_soon_as_the_one_before_is_committed(run: Run):
    await run.write(0)
    await run.commit(1)
    assert (await run.state())[0] == 1

    await run.recorder.committed(outcome(0))

    assert await run.state() == (2, "after 1", 20, [0, 1])


async def test_commit_whose_answer_was_lost_is_not_counted_again(run: Run):
    await run.commit(1)
    await run.write(0)
    await run.commit(2)

    await run.commit(0)

    assert await run.state() == (3, "after 2", 30, [0, 1, 2])


async def test_cursor_is_the_greatest_so_far(run: Run):
    for number in (1, 0, 2):
        await run.commit(number)
    assert (await run.store.get(run.id)).cursor == "100"


async def test_process_that_lost_its_lease_can_record_nothing_more(run: Run):
    await run.store.beat(run.id, run.owner, timedelta(0), None)
    assert await run.store.claim(run.id, uuid4(), LONG)

    for number in (0, 1):
        with pytest.raises(LeaseLostError):
            await run.write(number)
    with pytest.raises(LeaseLostError):
        await run.store.beat(run.id, run.owner, LONG, None)
    assert await run.state() == (0, None, 0, [])
