"""Real processes of ``media-gateway ingest run``: killed at random points, stopped by signals."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.ingestion.exit_codes import EXIT_CODES
from media_gateway.ingestion.runs import RunState
from tests.support.ingestion import (
    all_dead_letters,
    bad_film,
    column,
    film,
    make_runner,
    manifest,
    scalar,
    write_ndjson,
)
from tests.support.processes import REPOSITORY
from tests.support.waiting import eventually

COMMAND = (sys.executable, "-m", "media_gateway.cli", "ingest")


class Command:
    """`media-gateway ingest` on the servers of the test."""

    def __init__(self, database_url: str, redis_url: str, folder: Path) -> None:
        self.environment = {
            **os.environ,
            "MEDIA_GATEWAY_DATABASE_URL": database_url,
            "MEDIA_GATEWAY_REDIS_URL": redis_url,
            "MEDIA_GATEWAY_STATE_DIR": str(folder),
            "MEDIA_GATEWAY_INGESTION_LEASE_S": "1",
            "MEDIA_GATEWAY_INGESTION_PATIENCE_S": "5",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
            env=self.environment,
        )


@pytest.fixture
def command(database_url: str, redis_url: str, tmp_path: Path) -> Command:
    return Command(database_url, redis_url, tmp_path / "state")


def write_manifest(folder: Path, records: Path, **spec: Any) -> str:
    path = folder / "job.json"
    path.write_text(json.dumps(manifest(records, **spec)))
    return str(path)


async def test_run_killed_at_random_points_is_continued_without_twins_or_loss(
    command: Command, database: Database, tmp_path: Path
):
    total = 6_000
    records = [bad_film(n) if n % 100 == 0 else film(n) for n in range(1, total + 1)]
    job = write_manifest(tmp_path, write_ndjson(tmp_path / "f.ndjson", records), parallelism=2)
    for target in sorted(random.sample(range(10, total // 2), 3)):
        process = await command.start("run", job, "--no-wait")
        read = "SELECT coalesce(max(read), 0) FROM ingestion_runs"

        async def has_read(target: int = target, statement: str = read) -> bool:
            return int(await scalar(database, statement)) >= target

        await eventually(has_read, timeout_s=60)
        process.kill()
        await process.communicate()

    process = await command.start("run", job, "--no-wait")
    async with asyncio.timeout(90):
        _, err = await process.communicate()

    assert process.returncode == 0, err.decode()
    runner = make_runner(database)
    (run,) = await runner.store.page(before=None, limit=10)
    assert (run.state, run.counts.read, run.counts.failed) == (RunState.COMPLETE, total, total // 100)
    assert [letter.line for letter in await all_dead_letters(runner, run.id)] == list(
        range(100, total + 1, 100)
    )
    expected = total - total // 100
    assert await scalar(database, "SELECT count(*) FROM source_records") == expected
    assert await scalar(database, "SELECT count(*) FROM contents") == expected
    assert (
        await scalar(database, "SELECT count(DISTINCT key) FROM outbox WHERE destination = 'events'")
        == expected
    )
    ids = await column(database, "SELECT id_value FROM external_ids WHERE id_type = 'imdb'")
    assert sorted(ids) == sorted(
        record["external_ids"]["imdb"] for record in records if record["release_year"] < 9999
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
async def test_signal_stops_a_run_after_its_batch_with_its_own_status(
    command: Command, database: Database, tmp_path: Path, *, number: int, status: int
):
    job = write_manifest(tmp_path, write_ndjson(tmp_path / "f.ndjson", map(film, range(1, 20_001))))
    process = await command.start("run", job, "--no-wait")

    async def has_begun() -> bool:
        return bool(await scalar(database, "SELECT coalesce(max(read), 0) FROM ingestion_runs"))

    await eventually(has_begun, timeout_s=60)
    process.send_signal(number)
    out, err = await process.communicate()

    assert process.returncode == status, err.decode()
    assert b"Suspended" in out
    (run,) = await make_runner(database).store.page(before=None, limit=10)
    assert (run.state, run.reason) == (RunState.SUSPENDED, "Stopped")
    assert 0 < run.counts.read < 20_000


def test_exit_codes_in_the_manual_are_those_of_the_command():
    text = (REPOSITORY / "docs/ingestion.md").read_text()
    for row in EXIT_CODES:
        assert f"| {row.code} | {row.meaning} |" in text
