"""Runs of a file job in this process, on a real Postgres."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import ConflictError, InvalidInputError
from media_gateway.ingestion.runs import RunFailedError, RunState
from media_gateway.ingestion.services.meter import Progress
from media_gateway.ingestion.services.runs import Runner
from tests.support.ingestion import (
    all_dead_letters,
    bad_film,
    column,
    file_job,
    film,
    make_runner,
    scalar,
    write_ndjson,
)
from tests.support.waiting import eventually

LARGE = int(os.environ.get("MEDIA_GATEWAY_TEST_RECORDS", "10000"))
"""Records of the large file; 100000 takes a few minutes."""


async def test_full_run_writes_every_record_and_tells_its_progress(database: Database, tmp_path: Path):
    runner, seen = make_runner(database), list[Progress]()
    run = await runner.open(
        file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 101)))), origin="cli"
    )

    result = await runner.execute(run.id, on_progress=seen.append)

    assert result.error is None
    assert result.run.state is RunState.COMPLETE
    counts = result.run.counts
    assert (counts.read, counts.created, counts.updated, counts.skipped, counts.failed) == (100, 100, 0, 0, 0)
    assert (result.run.percent, result.run.remaining_s) == (100.0, 0.0)
    assert await scalar(database, "SELECT count(*) FROM contents") == 100
    assert seen[-1].counts.read == 100
    assert seen[-1].rate_per_second
    events = "SELECT count(*) FROM outbox WHERE destination = :name"
    assert await scalar(database, events, name="events") == 100
    assert await scalar(database, events, name="vectors") == 100


async def test_second_run_of_the_same_file_changes_nothing(database: Database, tmp_path: Path):
    job = file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 31))))
    runner = make_runner(database)
    first = await runner.execute((await runner.open(job, origin="cli")).id)

    second = await runner.execute((await runner.open(job, origin="cli")).id)

    assert second.run.id != first.run.id
    assert (second.run.counts.written, second.run.counts.skipped) == (0, 30)
    assert await scalar(database, "SELECT count(*) FROM contents") == 30


async def test_full_run_ends_what_its_source_no_longer_lists_but_not_what_it_could_not_take(
    database: Database, tmp_path: Path
):
    offering = {"platform": "netflix", "region": "US", "availability_type": "subscription"}
    path = write_ndjson(tmp_path / "f.ndjson", (film(n, offerings=[offering]) for n in range(1, 11)))
    runner, spec = make_runner(database), {"errorPolicy": {"maxErrorPercent": 50}}
    await runner.execute((await runner.open(file_job(path, **spec), origin="cli")).id)
    write_ndjson(path, [film(1, offerings=[offering]), bad_film(2)])

    result = await runner.execute((await runner.open(file_job(path, **spec), origin="cli")).id)

    assert result.run.message == "8 records are no longer listed"
    left = await column(
        database,
        "SELECT s.source_id FROM offerings o JOIN source_records s USING (content_id) WHERE o.ended_at IS NULL ORDER BY 1",
    )
    assert left == ["film-1", "film-2"]


async def test_full_run_with_unreadable_records_ends_nothing(database: Database, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 11)))
    runner, spec = make_runner(database), {"errorPolicy": {"maxErrorPercent": 60}}
    await runner.execute((await runner.open(file_job(path, **spec), origin="cli")).id)
    write_ndjson(path, [film(1), '{"source_id": "film-2", "tit'])

    result = await runner.execute((await runner.open(file_job(path, **spec), origin="cli")).id)

    assert result.run.state is RunState.COMPLETE
    assert "nothing was ended" in (result.run.message or "")
    assert await scalar(database, "SELECT count(*) FROM source_records WHERE delisted") == 0


async def test_incremental_runs_read_only_what_is_newer_than_the_stored_cursor(
    database: Database, tmp_path: Path
):
    path = write_ndjson(
        tmp_path / "f.ndjson", (film(n, updated_at=f"2026-01-{n:02d}T00:00:00Z") for n in range(1, 11))
    )
    job = file_job(path, mode="Incremental", cursorField="updated_at")
    runner = make_runner(database)
    first = await runner.execute((await runner.open(job, origin="cli")).id)
    with path.open("a") as file:
        file.write(
            '{"source_id": "film-11", "content_type": "movie", "title": "New", "updated_at": "2026-02-01T00:00:00Z"}\n'
        )

    second = await runner.execute((await runner.open(job, origin="cli")).id)

    assert (first.run.counts.read, second.run.counts.read) == (10, 1)
    assert second.run.cursor == "2026-02-01T00:00:00Z"
    assert (
        await scalar(database, "SELECT cursor FROM ingestion_cursors WHERE name = 'films'")
        == second.run.cursor
    )


async def test_dry_run_checks_every_record_and_writes_none(database: Database, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", [*map(film, range(1, 21)), bad_film(21)])
    runner = make_runner(database)
    job = file_job(path, dryRun=True, errorPolicy={"maxErrorPercent": 10})

    result = await runner.execute((await runner.open(job, origin="cli")).id)

    assert (result.run.counts.skipped, result.run.counts.failed, result.run.counts.written) == (20, 1, 0)
    assert [letter.line for letter in await all_dead_letters(runner, result.run.id)] == [21]
    assert await scalar(database, "SELECT count(*) FROM source_records") == 0
    assert await scalar(database, "SELECT count(*) FROM outbox") == 0


async def test_stopped_run_continues_where_it_stopped(database: Database, tmp_path: Path):
    runner = make_runner(database)
    job = file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 501))))
    run, stop = await runner.open(job, origin="cli"), asyncio.Event()

    def stop_midway(progress: Progress) -> None:
        if progress.counts.read >= 10:
            stop.set()

    task = asyncio.create_task(runner.execute(run.id, stop=stop, on_progress=stop_midway))
    await eventually(lambda: task.done() or _read(runner, run.id, 10, stop))
    stopped = await task
    again = await runner.open(job, origin="cli")
    finished = await runner.execute(again.id)

    assert stopped.run.state is RunState.SUSPENDED
    assert 0 < stopped.run.counts.read < 500
    assert again.id == run.id
    assert finished.run.state is RunState.COMPLETE
    assert (finished.run.counts.read, finished.run.counts.created, finished.run.attempt) == (500, 500, 2)


async def _read(runner: Runner, run_id: UUID, least: int, stop: asyncio.Event) -> bool:
    if (await runner.store.get(run_id)).counts.read >= least:
        stop.set()
    return stop.is_set()


async def test_only_one_process_works_on_a_run(database: Database, tmp_path: Path):
    runner = make_runner(database, lease=timedelta(seconds=1))
    run = await runner.open(file_job(write_ndjson(tmp_path / "f.ndjson", [film(1)])), origin="cli")
    owner = uuid4()
    assert await runner.store.claim(run.id, owner, timedelta(seconds=60))

    with pytest.raises(ConflictError):
        await runner.execute(run.id)

    assert await runner.store.beat(run.id, owner, timedelta(milliseconds=1), None) is False
    assert (await runner.execute(run.id)).run.state is RunState.COMPLETE


async def test_cancelled_run_stops_and_keeps_what_is_written(database: Database, tmp_path: Path):
    runner = make_runner(database, lease=timedelta(seconds=1))
    run = await runner.open(
        file_job(write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 2001)))), origin="cli"
    )
    task = asyncio.create_task(runner.execute(run.id))

    async def is_under_way() -> bool:
        return (await runner.store.get(run.id)).counts.read >= 10

    await eventually(is_under_way)
    await runner.store.request_cancel(run.id)
    result = await task

    assert result.run.state is RunState.CANCELLED
    assert 0 < result.run.counts.created < 2000
    assert await scalar(database, "SELECT count(*) FROM source_records") == result.run.counts.created
    with pytest.raises(ConflictError):
        await runner.store.request_cancel(run.id)


@pytest.mark.parametrize("bad_first", [True, False])
async def test_run_exactly_within_its_error_budget_completes(
    database: Database, tmp_path: Path, *, bad_first: bool
):
    bad, good = [bad_film(n) for n in range(20)], [film(n) for n in range(20, 2000)]
    path = write_ndjson(tmp_path / "f.ndjson", bad + good if bad_first else good + bad)
    runner = make_runner(database)

    result = await runner.execute((await runner.open(file_job(path, batchSize=100), origin="cli")).id)

    assert result.run.state is RunState.COMPLETE
    assert (result.run.counts.failed, result.run.counts.created) == (20, 1980)


async def test_run_far_over_its_error_budget_fails_early_with_all_it_read_accounted_for(
    database: Database, tmp_path: Path
):
    path = write_ndjson(tmp_path / "f.ndjson", (bad_film(n) if n % 10 == 0 else film(n) for n in range(5000)))
    runner = make_runner(database)

    result = await runner.execute((await runner.open(file_job(path, batchSize=100), origin="cli")).id)

    assert isinstance(result.error, RunFailedError)
    assert (result.run.state, result.run.reason) == (RunState.FAILED, "ErrorBudgetExceeded")
    counts = result.run.counts
    assert 1000 <= counts.read < 5000
    assert counts.failed == counts.read // 10
    letters = await all_dead_letters(runner, result.run.id)
    assert [letter.line for letter in letters] == list(range(1, counts.read, 10))
    assert {letter.field for letter in letters} == {"release_year"}


@pytest.mark.parametrize(("parallelism", "total"), [(1, LARGE), (4, 3_000)])
async def test_every_rejected_record_is_in_the_dead_letters_with_line_and_reason(
    database: Database, tmp_path: Path, *, parallelism: int, total: int
):
    """One bad record in each hundred, of different kinds, in a file that repeats some of its records."""
    bad: list[dict[str, Any] | str] = [bad_film(1), '{"source_id": "x", "ti', '{"source_id": "y"}', "[1, 2]"]
    records: list[dict[str, Any] | str] = [
        bad[n // 100 % 4] if n % 100 == 50 else film(n % 7000) for n in range(total)
    ]
    path = write_ndjson(tmp_path / "f.ndjson", records)
    runner = make_runner(database)
    job = file_job(path, batchSize=200, parallelism=parallelism)

    result = await runner.execute((await runner.open(job, origin="cli")).id)

    assert result.run.state is RunState.COMPLETE
    letters = await all_dead_letters(runner, result.run.id)
    assert [letter.line for letter in letters] == list(range(51, total + 1, 100))
    assert all(letter.reason for letter in letters)
    assert all(letter.excerpt for letter in letters)
    counts = result.run.counts
    assert (counts.read, counts.failed) == (total, total // 100)
    assert counts.created + counts.updated + counts.skipped == total - total // 100
    assert await scalar(database, "SELECT count(*) FROM source_records") == len(
        {n % 7000 for n in range(total) if n % 100 != 50}
    )


async def test_dead_letter_excerpts_are_short_and_storable(database: Database, tmp_path: Path):
    path = tmp_path / "f.ndjson"
    records = [film(1, title="x" * 10_000), film(2, title="nul \0 and \ud800"), film(3, overview="\0")]
    write_ndjson(path, records)
    runner = make_runner(database)
    job = file_job(path, errorPolicy={"maxErrorPercent": 100})

    result = await runner.execute((await runner.open(job, origin="cli")).id)

    letters = await all_dead_letters(runner, result.run.id)
    assert result.run.counts.failed == len(letters) >= 1
    assert all(len(letter.excerpt.encode()) <= 4096 for letter in letters)


async def test_dead_letters_go_to_the_topic_that_the_job_names(database: Database, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", [film(1), bad_film(2)])
    runner = make_runner(database)
    job = file_job(path, errorPolicy={"maxErrorPercent": 100, "deadLetterTopic": "films.rejected"})

    await runner.execute((await runner.open(job, origin="cli")).id)

    assert await scalar(database, "SELECT count(*) FROM outbox WHERE destination = 'dead-letters'") == 1


async def test_sinks_that_are_off_are_not_told(database: Database, tmp_path: Path):
    path = write_ndjson(tmp_path / "f.ndjson", [film(1)])
    job = file_job(path, sinks={"vectors": {"enabled": False}})
    runner = make_runner(database)

    await runner.execute((await runner.open(job, origin="cli")).id)

    assert await column(database, "SELECT destination FROM outbox") == ["events"]


async def test_manifest_that_asks_for_another_vector_collection_is_refused(
    database: Database, tmp_path: Path
):
    job = file_job(tmp_path / "f", sinks={"vectors": {"collection": "mine"}})
    with pytest.raises(InvalidInputError, match=r"spec\.sinks\.vectors\.collection"):
        await make_runner(database).open(job, origin="cli")


async def test_missing_file_fails_the_run_for_good(database: Database, tmp_path: Path):
    runner = make_runner(database)
    result = await runner.execute((await runner.open(file_job(tmp_path / "absent"), origin="cli")).id)
    assert result.run.state is RunState.FAILED
    assert result.error is not None
    assert not result.error.retryable


async def test_finished_runs_are_deleted_after_their_retention(database: Database, tmp_path: Path):
    runner = make_runner(database)
    path = write_ndjson(tmp_path / "f.ndjson", [film(1), bad_film(2)])
    job = file_job(path, errorPolicy={"maxErrorPercent": 100})
    done = await runner.execute((await runner.open(job, origin="cli")).id)
    open_run = await runner.open(job, origin="cli")

    assert await runner.store.purge(timedelta(days=1)) == 0
    assert await runner.store.purge(timedelta(0)) == 1

    assert [run.id for run in await runner.store.page(before=None, limit=10)] == [open_run.id]
    assert await all_dead_letters(runner, done.run.id) == []
