"""``media-gateway ingest``: run an ingestion job from its manifest, and look at jobs and what they rejected."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn
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
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnauthenticatedError,
    UpstreamError,
)
from media_gateway.core.outbox import RelayPolicy
from media_gateway.core.settings import CoreSettings, load_settings
from media_gateway.core.telemetry import configure_logging
from media_gateway.core.web import event_loop_factory
from media_gateway.ingestion.app import make_runner
from media_gateway.ingestion.runs import Run, RunCancelledError, RunFailedError, RunState
from media_gateway.ingestion.services.pipeline import REASONS_TOLD
from media_gateway.ingestion.services.relays import events_relay
from media_gateway.ingestion.services.runs import Runner
from media_gateway.ingestion.services.vectors import VectorWriter
from media_gateway.ingestion.settings import Settings

app = typer.Typer(name="ingest", help="Read catalogues from sources.", no_args_is_help=True)

DELIVERY_LIMIT_S = 600.0
"""How long a finished run waits until its events and vectors are delivered; the service delivers what is left."""

POLL_S = 0.5


class ExitCode(NamedTuple):
    """How the command ends, after which errors, and what that means."""

    code: int
    errors: tuple[type[MediaGatewayError], ...]
    meaning: str


EXIT_CODES = (
    ExitCode(0, (), "The source was read to its end and everything accepted is committed."),
    ExitCode(
        64,
        (InvalidInputError, PayloadTooLargeError),
        "The command or the manifest is wrong; the field is named.",
    ),
    ExitCode(
        65,
        (RunFailedError, RunCancelledError),
        "The job failed by its own rules (error budget, deadline), or was cancelled.",
    ),
    ExitCode(69, (NotFoundError, UpstreamError), "The source is not there, or answers what can't be used."),
    ExitCode(77, (UnauthenticatedError, PermissionDeniedError), "The source refuses the credentials."),
    ExitCode(78, (NotConfiguredError,), "A setting, a secret, an optional package or the schema is missing."),
    ExitCode(
        1,
        (),
        "Something stayed away for too long, or the command was told to stop (SIGTERM): run it again, it continues.",
    ),
    ExitCode(130, (), "Ctrl-C: as 1."),
    ExitCode(70, (), "An error that should not happen; the log has it."),
)
"""64 to 78 say that running the same command again can't help (sysexits.h). The first row that fits an error holds."""

EXIT_RETRYABLE, EXIT_INTERRUPTED, EXIT_SOFTWARE = 1, 130, 70
EVERYTHING: frozenset[BackendName] = frozenset({"database", "redis", "vectors", "events", "embedder"})

ManifestFile = Annotated[
    Path, typer.Argument(help="IngestionJob manifest, YAML or JSON.", show_default=False)
]
JobId = Annotated[UUID, typer.Argument(help="Id of the job, as `ingest list` shows it.", show_default=False)]


@dataclass(slots=True)
class Stop:
    """A request to end, and the signal that made it."""

    event: asyncio.Event
    number: int | None = None

    @property
    def exit_code(self) -> int:
        """Status after this signal."""
        return EXIT_INTERRUPTED if self.number == signal.SIGINT else EXIT_RETRYABLE


def exit_code(error: MediaGatewayError) -> int:
    """Exit status for an error, by `EXIT_CODES`."""
    for row in EXIT_CODES:
        if row.errors and isinstance(error, row.errors):
            return row.code
    # Another process works on the job: later it won't.
    return EXIT_RETRYABLE if error.retryable or isinstance(error, ConflictError) else EXIT_SOFTWARE


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
    with _stopping() as stop:
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
                return exit_code(result.error)
            if result.run.state is RunState.SUSPENDED:
                return stop.exit_code if stop.event.is_set() else EXIT_RETRYABLE
            if wait and not job.spec.dry_run:
                try:
                    await _deliver(backends, display, stop)
                except MediaGatewayError as error:
                    # What was accepted is committed, and its events with it.
                    display.line(f"not everything is delivered yet: {error.message}")
            return 0 if result.run.state is RunState.COMPLETE else exit_code(RunCancelledError("cancelled"))


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


async def _deliver(backends: Backends, display: Display, stop: Stop) -> None:
    """Deliver events and vectors, as far as that can be done now; what is left stays for the service."""
    writer = VectorWriter(backends.database, backends.vectors, backends.embedder)
    policy = RelayPolicy.from_settings(backends.settings)
    relays = {"events": events_relay(backends.database, backends.events, policy)}
    try:
        await writer.ready()
        relays["vectors"] = writer.relay(policy)
    except MediaGatewayError as error:
        if waiting := await writer.backlog():
            display.line(f"{waiting:,} vectors are left to the service: {error.message}")
    drains = [asyncio.create_task(relay.drain(timeout_s=DELIVERY_LIMIT_S)) for relay in relays.values()]
    stopped = asyncio.create_task(stop.event.wait())
    most = 0
    with display.showing("events and vectors"):
        while not all(drain.done() for drain in drains) and not stopped.done():
            left = await writer.backlog()
            most = max(most, left)
            display.say(f"{left:,} vectors left", 100 * (most - left) / most if most else None)
            await asyncio.wait({*drains, stopped}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
    for task in (*drains, stopped):
        task.cancel()
    await asyncio.wait({*drains, stopped})
    if not all(not drain.cancelled() and drain.result() for drain in drains):
        display.line("not everything is delivered yet; the service goes on with it")


@asynccontextmanager
async def _open(settings: Settings, needs: frozenset[BackendName]) -> AsyncIterator[Backends]:
    """Backends with a schema of this release: made so in the private database, demanded of any other."""
    async with AsyncExitStack() as stack:
        if is_embedded(settings):
            url = await stack.enter_async_context(EmbeddedPostgres(settings.state_path))
            await migrations.migrate(url)
            settings = settings.model_copy(update={"database_url": SecretStr(url)})
        else:
            schema = await migrations.current(settings.database_url.get_secret_value())
            needed = migrations.head()
            if (schema or "") < (needed or ""):
                raise NotConfiguredError(
                    f"the database schema is at {schema or 'nothing'}, this release needs {needed}; "
                    "run: media-gateway migrate"
                )
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


@contextmanager
def _stopping() -> Iterator[Stop]:
    """SIGTERM and Ctrl-C ask to stop; the second one ends the process where it stands, which loses nothing either."""
    loop, stop = asyncio.get_running_loop(), Stop(asyncio.Event())

    def on_signal(number: int) -> None:
        if stop.event.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.number = number
        stop.event.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


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
