"""``python -m media_gateway.ingestion.job`` as a real process, with an operator that takes its reports."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from media_gateway.core.adapters.postgres import Database
from media_gateway.ingestion.runs import RunState
from tests.support.ingestion import bad_film, film, make_runner, manifest, scalar, write_ndjson
from tests.support.processes import REPOSITORY, module
from tests.support.progress_door import Operator, listening
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    found = Operator()
    async with listening(found.take) as found.url:
        yield found


class Job:
    """The process, on the servers of the test."""

    def __init__(self, database_url: str, redis_url: str, folder: Path) -> None:
        self.folder = folder
        self.token = folder / "token"
        self.token.write_text("first\n")
        self.environment = {
            **os.environ,
            "MEDIA_GATEWAY_DATABASE_URL": database_url,
            "MEDIA_GATEWAY_REDIS_URL": redis_url,
            "MEDIA_GATEWAY_STATE_DIR": str(folder / "state"),
            "MEDIA_GATEWAY_INGESTION_FILE_DIR": str(folder),
            "MEDIA_GATEWAY_INGESTION_LEASE_S": "1",
            "MEDIA_GATEWAY_INGESTION_PATIENCE_S": "30",
            "MEDIA_GATEWAY_LOG_FORMAT": "json",
            "MEDIA_GATEWAY_PROGRESS_TOKEN_FILE": str(self.token),
        }

    def reports_to(self, url: str) -> None:
        self.environment["MEDIA_GATEWAY_PROGRESS_URL"] = url

    async def start(self, document: dict[str, Any]) -> asyncio.subprocess.Process:
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(document))
        return await asyncio.create_subprocess_exec(
            *module("media_gateway.ingestion.job", str(path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=REPOSITORY,
            env=self.environment,
        )

    async def run(self, document: dict[str, Any]) -> tuple[int, list[str]]:
        """Exit status and what was logged, a line each."""
        process = await self.start(document)
        async with asyncio.timeout(90):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode().splitlines()

    def films(self, *records: dict[str, Any], **spec: Any) -> dict[str, Any]:
        return manifest(write_ndjson(self.folder / "f.ndjson", records), **spec)


@pytest.fixture
def job(database_url: str, redis_url: str, tmp_path: Path) -> Job:
    return Job(database_url, redis_url, tmp_path)


async def test_run_is_reported_to_its_end_with_the_token(job: Job, operator: Operator, database: Database):
    job.reports_to(operator.url)

    status, log = await job.run(job.films(*map(film, range(1, 21))))

    assert status == 0, log
    assert operator.bodies[0]["state"] == "Running"
    counts = {
        name: operator.final[name] for name in ("state", "read", "written", "skipped", "failed", "percent")
    }
    assert counts == {
        "state": "Complete",
        "read": 20,
        "written": 20,
        "skipped": 0,
        "failed": 0,
        "percent": 100,
    }
    assert set(operator.tokens) == {"Bearer first"}
    (run,) = await make_runner(database).store.page(before=None, limit=10)
    assert (run.state, run.origin) == (RunState.COMPLETE, "cluster")


async def test_sigterm_keeps_the_checkpoint_and_the_next_process_goes_on(
    job: Job, operator: Operator, database: Database
):
    job.reports_to(operator.url)
    document = job.films(*map(film, range(1, 2_001)))
    process = await job.start(document)

    async def has_begun() -> bool:
        return bool(await scalar(database, "SELECT coalesce(max(read), 0) FROM ingestion_runs"))

    await eventually(has_begun, timeout_s=60)
    process.send_signal(signal.SIGTERM)
    output, _ = await process.communicate()

    assert process.returncode == 1, output.decode()
    assert "run the job again" in json.loads(output.splitlines()[-1])["message"]
    assert operator.final["state"] == "Suspended"
    assert 0 < operator.final["read"] < 2_000
    (run,) = await make_runner(database).store.page(before=None, limit=10)
    assert run.state is RunState.SUSPENDED

    operator.bodies.clear()
    status, log = await job.run(document)

    assert status == 0, log
    assert (operator.final["state"], operator.final["read"]) == ("Complete", 2_000)
    assert len(await make_runner(database).store.page(before=None, limit=10)) == 1


async def test_failed_run_ends_with_its_reason_in_the_log_and_the_report(job: Job, operator: Operator):
    job.reports_to(operator.url)

    status, log = await job.run(job.films(film(1), bad_film(2)))

    assert status == 65
    last = json.loads(log[-1])
    assert (last["level"], last["reason"], last["exit_code"]) == ("error", "ErrorBudgetExceeded", 65)
    assert "1 of 2 records were rejected" in last["message"]
    assert (operator.final["state"], operator.final["message"]) == ("Failed", last["message"])


async def test_database_that_is_away_is_waited_for_until_the_job_is_stopped(
    job: Job, operator: Operator, free_port: int
):
    job.environment["MEDIA_GATEWAY_DATABASE_URL"] = f"postgresql://nobody@127.0.0.1:{free_port}/none"
    job.reports_to(operator.url)
    process = await job.start(job.films(film(1)))

    await eventually(
        lambda: any("waits for the database" in (body["message"] or "") for body in operator.bodies),
        timeout_s=60,
    )
    process.terminate()
    output, _ = await process.communicate()

    assert process.returncode == 1, output.decode()
    assert operator.final["state"] == "Suspended"


async def test_job_loads_nothing_of_the_command_line():
    """The image has neither the command line nor its packages."""
    program = (
        "import sys, media_gateway.ingestion.job_run\n"
        "print([name for name in sys.modules if name.startswith('media_gateway.cli') or name == 'typer'])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    output, _ = await process.communicate()
    assert (process.returncode, output.decode().strip()) == (0, "[]")
