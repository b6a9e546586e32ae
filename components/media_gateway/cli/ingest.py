"""``media-gateway ingest``: run an ingestion job from its manifest, and look at jobs and what they rejected."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import orjson
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Column, Table

from media_gateway.cli.environment import StateDir, is_embedded, state_option, use_state_folder
from media_gateway.cli.ingest_progress import Display, duration
from media_gateway.cli.log_file import RotatingFile
from media_gateway.core import migrations
from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.state import StateFolder
from media_gateway.core.bootstrap import BackendName, Backends, open_backends
from media_gateway.core.domain.specs import IngestionJob, load_manifest
from media_gateway.core.errors import (
    MediaGatewayError,
)
from media_gateway.core.settings import CoreSettings, load_settings
from media_gateway.core.telemetry import configure_logging
from media_gateway.core.web import event_loop_factory
from media_gateway.ingestion.app import make_runner
from media_gateway.ingestion.exit_codes import exit_code
from media_gateway.ingestion.one_run import EVERYTHING, deliver, status_of, stopping
from media_gateway.ingestion.runs import Run, RunState
from media_gateway.ingestion.services.pipeline import REASONS_TOLD
from media_gateway.ingestion.services.runs import Runner
from media_gateway.ingestion.settings import Settings

app = typer.Typer(name="ingest", help="Read catalogues from sources.", no_args_is_help=True)


ManifestFile = Annotated[
    Path, typer.Argument(help="IngestionJob manifest, YAML or JSON.", show_default=False)
]
JobId = Annotated[UUID, typer.Argument(help="Id of the job, as `ingest list` shows it.", show_default=False)]


@app.command()
def run(
    file: ManifestFile,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check every record, change nothing in the catalogue.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Leave events and vectors to the running service.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Read a source into the catalogue.

    The same manifest continues its unfinished run, after any kind of end: Ctrl-C, kill -9, a server away for too long.
    Exit codes: 0 done; 1 and 130 run it again, it continues; 64 to 78 running it again can't help (docs/ingestion.md).

    Example: media-gateway ingest run samples/ingestionjob-demo.yaml
    """
    with _explained():
        job = load_manifest(file)
        if dry_run:
            job = job.model_copy(update={"spec": job.spec.model_copy(update={"dry_run": True})})
        settings = _settings(state_dir)
        sys.exit(_in_loop(_run(settings, job, wait=not no_wait)))


@app.command(name="list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="Jobs at most.", min=1, max=100)] = 20, state_dir: StateDir = None
) -> None:
    """List jobs, newest first."""

    async def find() -> list[Run]:
        async with _store(_settings(state_dir)) as runner:
            return await runner.store.page(before=None, limit=limit)

    with _explained():
        table = Table(
            Column("id", no_wrap=True), "name", "state", "read", "written", "unchanged", "rejected", "begun"
        )
        for job in _in_loop(find()):
            counts = job.counts
            numbers = (f"{n:,}" for n in (counts.read, counts.written, counts.skipped, counts.failed))
            state = job.state.value + (" (dry run)" if job.dry_run else "")
            table.add_row(str(job.id), job.name, state, *numbers, f"{job.created_at:%Y-%m-%d %H:%M}")
        # A table that is piped somewhere is not cut to the width of a terminal.
        Console(width=None if sys.stdout.isatty() else 200).print(table)


@app.command()
def show(job_id: JobId, state_dir: StateDir = None) -> None:
    """Show one job as JSON."""
    from media_gateway.ingestion.schemas import JobView

    async def find() -> Run:
        async with _store(_settings(state_dir)) as runner:
            return await runner.store.get(job_id)

    with _explained():
        print(JobView.from_domain(_in_loop(find())).model_dump_json(indent=2))


@app.command(name="dead-letters")
def dead_letters(
    job_id: JobId,
    limit: Annotated[int, typer.Option(help="Records at most.", min=1)] = 1_000,
    state_dir: StateDir = None,
) -> None:
    """Print a job's rejected records, one JSON object a line, in the order of the source."""

    async def print_all() -> None:
        async with _store(_settings(state_dir)) as runner:
            await runner.store.get(job_id)
            after, left = 0, limit
            while left > 0:
                page = await runner.store.dead_letters(job_id, after=after, limit=min(left, 500))
                for letter in page:
                    print(orjson.dumps(letter).decode())
                if not page:
                    return
                after, left = page[-1].id, left - len(page)

    with _explained():
        _in_loop(print_all())


async def _run(settings: Settings, job: IngestionJob, *, wait: bool) -> int:
    display = Display()
    with stopping() as stop:
        async with _open(settings, EVERYTHING) as backends:
            runner = make_runner(settings, backends)
            opened = await runner.open(job, origin="cli")
            if opened.attempt:
                display.line(f"continuing job {opened.id} after {opened.counts.read:,} records")
            with display.showing(job.metadata.name):
                result = await runner.execute(opened.id, stop=stop.event, on_progress=display.progress)
            letters = await runner.store.dead_letters(opened.id, after=0, limit=REASONS_TOLD)
            _summarise(result.run, [letter.told for letter in letters], state_option(settings))
            if result.error is not None and result.run.state is not RunState.SUSPENDED:
                _say(result.error)
            if result.run.state is RunState.COMPLETE and wait and not job.spec.dry_run:
                try:
                    with display.showing("events and vectors"):
                        await deliver(backends, display, stop)
                except MediaGatewayError as error:
                    # What was accepted is committed, and its events with it.
                    display.line(f"not everything is delivered yet: {error.message}")
            return status_of(result, stop)


def _summarise(run: Run, reasons: Sequence[str], option: str) -> None:
    counts, mode = run.counts, " (dry run)" if run.dry_run else ""
    took = duration(
        ((run.finished_at or run.updated_at) - (run.started_at or run.created_at)).total_seconds()
    )
    print(
        f"job {run.id} {run.name}{mode}: {run.state} after {took}: {counts.read:,} read, {counts.written:,} written, "
        f"{counts.skipped:,} {'valid' if run.dry_run else 'unchanged'}, {counts.failed:,} rejected"
    )
    if run.message and run.state is not RunState.FAILED:
        print(f"  {run.message}")
    if counts.failed:
        # A job that failed for them names them in its message, which follows.
        for reason in reasons:
            if reason not in (run.message or ""):
                print(f"  {reason}")
        print(f"  rejected records: media-gateway ingest dead-letters {run.id}{option}")


@asynccontextmanager
async def _open(settings: Settings, needs: frozenset[BackendName]) -> AsyncIterator[Backends]:
    """Backends with a schema of this release: made so in the private database, demanded of any other."""
    async with AsyncExitStack() as stack:
        if is_embedded(settings):
            url = await stack.enter_async_context(EmbeddedPostgres(settings.state_path))
            await migrations.migrate(url)
            settings = settings.model_copy(update={"database_url": SecretStr(url)})
        else:
            await migrations.demand(settings.database_url.get_secret_value())
        yield await stack.enter_async_context(open_backends(settings, needs))


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Runner]:
    """A runner that is only asked about runs."""
    async with _open(settings, frozenset({"database", "vectors"})) as backends:
        yield make_runner(settings, backends)


def _settings(state_dir: Path | None) -> Settings:
    core: CoreSettings = use_state_folder(state_dir)
    settings = load_settings(Settings)
    # At a terminal the log would tear the progress line apart.
    stream = RotatingFile(StateFolder(core.state_path).log_file("ingest")) if sys.stderr.isatty() else None
    configure_logging(settings, service="ingest", stream=stream)
    return settings


def _in_loop(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        return runner.run(work)


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of ours as lines on standard error and an exit code by `EXIT_CODES`."""
    try:
        yield
    except MediaGatewayError as error:
        _say(error)
        _end(error)


def _say(error: MediaGatewayError) -> None:
    sys.stderr.write(f"{error.message}\n")


def _end(error: MediaGatewayError) -> NoReturn:
    raise SystemExit(exit_code(error)) from None
