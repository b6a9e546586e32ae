"""The work of `job`: from a manifest to an exit status."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from media_gateway.core import migrations
from media_gateway.core.bootstrap import Backends, open_backends
from media_gateway.core.deadline import Deadline
from media_gateway.core.domain.specs import IngestionJob, load_manifest
from media_gateway.core.errors import MediaGatewayError, NotConfiguredError, UnavailableError
from media_gateway.core.retry import retry_with_backoff
from media_gateway.core.settings import load_settings
from media_gateway.core.telemetry import configure_logging
from media_gateway.core.web import event_loop_factory
from media_gateway.ingestion.app import make_runner
from media_gateway.ingestion.exit_codes import EXIT_RETRYABLE, EXIT_SOFTWARE, exit_code
from media_gateway.ingestion.one_run import EVERYTHING, Stop, deliver, status_of, stopping
from media_gateway.ingestion.progress_report import ProgressReporter
from media_gateway.ingestion.runs import Run, RunState
from media_gateway.ingestion.services.meter import Progress
from media_gateway.ingestion.services.pipeline import PATIENT, REASONS_TOLD
from media_gateway.ingestion.services.runs import Runner
from media_gateway.ingestion.settings import Settings

ORIGIN = "cluster"
"""Of the runs. Whoever may create an IngestionJob has none of the process's rights: its files are confined."""

LOG_EVERY_S = 15.0
"""Time between two log lines about progress."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """How the process ends."""

    status: int
    message: str | None = None
    reason: str | None = None
    """A word for programs, where the run gave one."""


def run_job(file: Path) -> int:
    """Work on a manifest; gives the exit status, after the last log line has said why if that is not 0."""
    try:
        settings = load_settings(Settings)
    except NotConfiguredError as error:
        sys.stderr.write(f"{error.message}\n")
        return exit_code(error)
    configure_logging(settings, service="ingestion-job")
    try:
        with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            end = runner.run(_work(settings, file))
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line says so and the status is not that of a retry
        _log.exception("an unexpected error")
        end = _End(EXIT_SOFTWARE, f"an unexpected error: {type(error).__name__}")
    if end.status:
        reason = {"reason": end.reason} if end.reason else {}
        _log.error(end.message or "the run did not end well", exit_code=end.status, **reason)
    return end.status


async def _work(settings: Settings, file: Path) -> _End:
    reporter = ProgressReporter.from_settings(settings)
    with stopping() as stop:
        try:
            job = load_manifest(file)
            watch = _Watch(reporter, stop)
            async with reporter.reporting(), _backends(settings, watch) as backends:
                return await _run(settings, job, backends, watch)
        except MediaGatewayError as error:
            status = stop.exit_code if stop.event.is_set() and error.retryable else exit_code(error)
            await reporter.fail(error.message, retryable=status == EXIT_RETRYABLE)
            return _End(status, error.message)


class _Watch:
    """Hears of progress, logs some of it and has the rest reported."""

    def __init__(self, reporter: ProgressReporter, stop: Stop) -> None:
        self.reporter = reporter
        self.stop = stop
        self._waits = False
        self._logged = time.monotonic()

    def progress(self, progress: Progress) -> None:
        """A run's progress."""
        self.reporter.progress(progress)
        if self._due():
            counts = progress.counts
            _log.info(
                "progress", read=counts.read, written=counts.written, unchanged=counts.skipped, rejected=counts.failed,
                percent=progress.percent, waiting_for=progress.waiting_for,
            )  # fmt: skip

    def line(self, text: str) -> None:
        """Something about the delivery that stays."""
        _log.info(text)

    def say(self, detail: str, percent: float | None = None) -> None:
        """How the delivery stands."""
        self.reporter.say(detail)
        if self._due():
            _log.info("delivering", left=detail, percent=percent)

    def waits(self, problem: str) -> None:
        """The database is away."""
        self.reporter.say(f"waits for the database: {problem}")
        if not self._waits:
            self._waits = True
            _log.warning("waits for the database", problem=problem)

    def _due(self) -> bool:
        if time.monotonic() - self._logged < LOG_EVERY_S:
            return False
        self._logged = time.monotonic()
        return True


async def _run(settings: Settings, job: IngestionJob, backends: Backends, watch: _Watch) -> _End:
    runner = make_runner(settings, backends)
    opened = await runner.open(job, origin=ORIGIN)
    if opened.attempt:
        _log.info("continuing", run=str(opened.id), read=opened.counts.read)
    result = await runner.execute(opened.id, stop=watch.stop.event, on_progress=watch.progress)
    run, status = result.run, status_of(result, watch.stop)
    await _tell_rejections(runner, run)
    if run.state is RunState.COMPLETE and not job.spec.dry_run:
        try:
            await deliver(backends, watch, watch.stop)
        except MediaGatewayError as error:
            # What was accepted is committed, and its events with it.
            _log.warning("not everything is delivered yet", problem=error.message)
    await watch.reporter.end(run)
    message = result.error.message if result.error is not None else run.message
    return _End(status, message, run.reason if run.state is RunState.FAILED else None)


async def _tell_rejections(runner: Runner, run: Run) -> None:
    """Log what became of the records, and the first reasons of rejections."""
    counts = run.counts
    _log.info(
        "the run is over" if run.state.finished else "the run was stopped",
        run=str(run.id), state=run.state.value, dry_run=run.dry_run, read=counts.read, written=counts.written,
        unchanged=counts.skipped, rejected=counts.failed, note=run.message,
    )  # fmt: skip
    if counts.failed:
        letters = await runner.store.dead_letters(run.id, after=0, limit=REASONS_TOLD)
        for letter in letters:
            _log.info("rejected", record=letter.told)


@asynccontextmanager
async def _backends(settings: Settings, watch: _Watch) -> AsyncIterator[Backends]:
    """The servers, on a schema of this release; a database that is away is waited for, as a run waits for it."""
    url = settings.database_url.get_secret_value()
    if url.startswith("embedded:"):
        raise NotConfiguredError(
            "MEDIA_GATEWAY_DATABASE_URL: must be the URL of a server; a job has no database of its own"
        )

    async def demand() -> None:
        try:
            await migrations.demand(url)
        except MediaGatewayError as error:
            if error.retryable:
                watch.waits(error.message)
            raise

    deadline = Deadline.after(round(settings.ingestion_patience_s * 1000))
    await _unless_stopped(retry_with_backoff(demand, PATIENT, deadline=deadline), watch.stop)
    async with open_backends(settings, EVERYTHING) as backends:
        yield backends


async def _unless_stopped(work: Coroutine[Any, Any, None], stop: Stop) -> None:
    task, stopped = asyncio.create_task(work), asyncio.create_task(stop.event.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for each in (task, stopped):
        each.cancel()
    await asyncio.wait({task, stopped})
    if task.cancelled():
        raise UnavailableError("stopped before the run began; run the job again")
    task.result()
