"""Ingestion runs: opened from a manifest, worked on by one process at a time, continued after any kind of end.

The command line, the service's background worker and ``media-gateway up`` go through `Runner`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

import orjson
import structlog

from media_gateway.core.adapters.postgres import Database
from media_gateway.core.deadline import Deadline
from media_gateway.core.domain.specs import EventsSink, IngestionJob, VectorsSink, parse_manifest
from media_gateway.core.errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    MediaGatewayError,
)
from media_gateway.core.outbox import EVENTS
from media_gateway.core.retry import RetryPolicy, retry_with_backoff
from media_gateway.ingestion.mapping import Mapper
from media_gateway.ingestion.runs import (
    LeaseLostError,
    NewRun,
    Run,
    RunCancelledError,
    RunFailedError,
    RunState,
)
from media_gateway.ingestion.services.catalogue import RunContext
from media_gateway.ingestion.services.meter import Meter, OnProgress, forwarded, reported
from media_gateway.ingestion.services.pipeline import (
    PATIENT,
    Attempt,
    AttemptParts,
    DryWriter,
    RecordWriter,
)
from media_gateway.ingestion.services.recorder import Recorder
from media_gateway.ingestion.sources import FileRoot, Secrets, Source, open_source
from media_gateway.ingestion.store_runs import RunStore
from media_gateway.ingestion.store_vectors import VECTORS

STOP_GRACE_S = 10.0
"""How long a stopping run may take to finish what it is writing."""

READER_GRACE_S = 0.5
"""How long a stopping run then waits for its source to give back control."""

CANCELLED_GRACE_S = 2.0
"""How long a cancelled run tries to give its lease back."""

OPERATOR_ORIGINS = frozenset({"cli", "up"})
"""Origins of jobs whose author has the process's rights anyway; the files of all others are confined."""

STOPPED = "stopped; run the job again to continue"

IDENTITY_FIELDS = ("source", "mode", "cursorField", "mapping", "dedupe", "sinks", "dryRun")
"""Parts of a spec that make it the same job: an unfinished run goes on if, say, only the batch size was changed."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPolicy:
    """How runs are worked on.

    Attributes
    ----------
    lease : timedelta
        A process that was silent for this long has lost its run to the next one that asks.
    patience_s : float
        How long a run waits for a server that is away before it is suspended.
    cache_path : Path | None
        Folder of downloaded demo data.
    """

    lease: timedelta = timedelta(seconds=15)
    patience_s: float = 600.0
    file_root: FileRoot = field(default_factory=FileRoot)
    """What the files of jobs from the API must lie in; by default nothing may be read."""
    cache_path: Path | None = None


class Catalogue(RecordWriter, Protocol):
    """The catalogue writer."""

    async def finish_full_run(self, run: RunContext) -> int:
        """End what the run has not seen; returns the number of records."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run after an attempt, and what ended the attempt if it was not the source's end."""

    run: Run
    error: MediaGatewayError | None = None


class Runner:
    """Opens and works on runs.

    Parameters
    ----------
    database
        Where runs are kept.
    catalogue
        Where records go.
    secrets
        Of the sources.
    policy
        How runs are worked on.
    """

    def __init__(
        self, database: Database, catalogue: Catalogue, *, secrets: Secrets, policy: RunPolicy | None = None
    ) -> None:
        self.store = RunStore(database)
        self._database = database
        self._catalogue = catalogue
        self._secrets = secrets
        self._policy = policy or RunPolicy()

    async def open(self, job: IngestionJob, *, origin: str) -> Run:
        """The job's unfinished run, or a new one.

        Raises
        ------
        InvalidInputError
            The manifest asks for something that no run can give; the field is named.
        NotConfiguredError
            A secret or an optional package is missing.
        """
        check_job(job)
        self._source(job, origin)
        Mapper(job.spec)
        return await self.store.open(
            NewRun(
                name=job.metadata.name,
                source=job.source_name,
                spec_hash=spec_hash(job),
                manifest=job.model_dump(mode="json", by_alias=True, exclude_none=True),
                origin=origin,
                mode=job.spec.mode,
                dry_run=job.spec.dry_run,
            )
        )

    async def execute(
        self, run_id: UUID, *, stop: asyncio.Event | None = None, on_progress: OnProgress | None = None
    ) -> RunResult:
        """Work on a run until its source is at its end or something stops it.

        A finished run is returned as it is. However the attempt ends, the run's state says so; an unfinished one is
        continued by the next call.

        Raises
        ------
        ConflictError
            Another process is working on the run, or has taken it over.
        UnavailableError
            Postgres can't be reached.
        """
        owner = uuid4()
        run = await self._claim(run_id, owner)
        if run.state.finished:
            return RunResult(run)
        lease = _Lease(run_id, owner, asyncio.Event())
        async with forwarded(stop, lease.stop):
            error = await self._attempt(run, lease, on_progress)
        return RunResult(await self._with_patience(partial(self.store.get, run_id)), error)

    async def _claim(self, run_id: UUID, owner: UUID) -> Run:
        """The run with a lease of ours, or as it ended. A lease that nobody renews is waited out."""
        lease = self._policy.lease
        deadline = Deadline.after(round(lease.total_seconds() * 1200) + 1000)
        while True:
            claimed = await retry_with_backoff(
                partial(self.store.claim, run_id, owner, lease), RetryPolicy.DEFAULT
            )
            if claimed is not None:
                _log.info("run started", run=str(run_id), name=claimed.name, attempt=claimed.attempt)
                return claimed
            run = await self.store.get(run_id)
            if run.state.finished:
                return run
            if deadline.expired:
                raise ConflictError("another process is working on this job")
            await asyncio.sleep(min(1.0, lease.total_seconds() / 10))

    async def _attempt(
        self, run: Run, lease: "_Lease", on_progress: OnProgress | None
    ) -> MediaGatewayError | None:
        """One attempt, after which the run's state says how it ended; gives the error that ended it, if one did."""
        error: MediaGatewayError | None = None
        state, ending = RunState.FAILED, _Ending("Internal", "an unexpected error; see the log")
        try:
            message = await self._work(run, lease, on_progress)
            state, ending = RunState.COMPLETE, _Ending(None, message)
            if lease.stop.is_set() and message == STOPPED:
                state, ending = RunState.SUSPENDED, _Ending("Stopped", message)
        except LeaseLostError:
            raise
        except MediaGatewayError as caught:
            error = caught
            state, ending = _ending(caught, stopped=lease.stop.is_set())
        except asyncio.CancelledError:
            # The process is going down: what is recorded stays, the lease is given back if Postgres is quick.
            with suppress(MediaGatewayError, TimeoutError):
                async with asyncio.timeout(CANCELLED_GRACE_S):
                    await self.store.end(run.id, lease.owner, RunState.SUSPENDED, _Ending("Stopped", STOPPED))
            raise
        except Exception:
            _log.exception("run failed unexpectedly", run=str(run.id))
            await self.store.end(run.id, lease.owner, state, ending)
            raise
        await self._with_patience(partial(self.store.end, run.id, lease.owner, state, ending))
        _log.info("run ended", run=str(run.id), state=state.value, reason=ending.reason, note=ending.message)
        return error

    async def _work(self, run: Run, lease: "_Lease", on_progress: OnProgress | None) -> str | None:
        """Read everything and finish; `STOPPED` if the attempt was stopped before."""
        job = parse_manifest(run.manifest)
        source = self._source(job, run.origin)
        meter = Meter(source)
        recorder = Recorder(self.store, run, lease.owner, job.spec.error_policy.dead_letter_topic)
        parts = AttemptParts(
            run=run,
            spec=job.spec,
            context=_context(run, job),
            source=source,
            mapper=Mapper(job.spec),
            writer=DryWriter(self._database) if job.spec.dry_run else self._catalogue,
            recorder=recorder,
            meter=meter,
            stop=lease.stop,
            patience_s=self._policy.patience_s,
        )
        async with self._kept_lease(lease, recorder, meter), reported(on_progress, recorder, meter):
            return await self._finish(parts) if await self._read_all(parts) else STOPPED

    async def _read_all(self, parts: AttemptParts) -> bool:
        attempt = Attempt(parts)
        task = asyncio.create_task(attempt.read_all(), name=f"run {parts.run.id}")
        stopped = asyncio.create_task(parts.stop.wait(), name="stop of the run")
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await attempt.settle(STOP_GRACE_S)
                await asyncio.wait({task}, timeout=READER_GRACE_S)
            if task.done():
                return task.result()
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.wait({task, stopped})
        # The source was waited for. Nothing is lost: the checkpoint is that of the last batch.
        if parts.recorder.cancel_requested:
            raise RunCancelledError("the job was cancelled")
        return False

    async def _finish(self, parts: AttemptParts) -> str | None:
        """What remains once everything is read: in a Full run, to end what the source no longer lists."""
        counts = parts.recorder.counts
        if parts.spec.mode != "Full" or parts.spec.dry_run or not parts.spec.sinks.catalog.enabled:
            return None
        if counts.read == 0:
            return "the source was empty; nothing was ended"
        if counts.unidentified:
            return f"{counts.unidentified} records could not be told apart, so nothing was ended as no longer listed"
        ended = await self._with_patience(partial(self._catalogue.finish_full_run, parts.context))
        return f"{ended} records are no longer listed" if ended else None

    @asynccontextmanager
    async def _kept_lease(self, lease: "_Lease", recorder: Recorder, meter: Meter) -> AsyncIterator[None]:
        async def keep() -> None:
            while True:
                await asyncio.sleep(self._policy.lease.total_seconds() / 4)
                try:
                    cancel = await self.store.beat(
                        lease.run_id, lease.owner, self._policy.lease, meter.waiting_for
                    )
                except LeaseLostError:
                    lease.stop.set()
                    return
                except MediaGatewayError as error:
                    # The writers wait as well; whoever has the lease when Postgres is back goes on.
                    _log.warning("lease not renewed", run=str(lease.run_id), error=error.message)
                    continue
                if cancel:
                    recorder.cancel_requested = True
                    lease.stop.set()

        task = asyncio.create_task(keep(), name="lease of the run")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _with_patience(self, call: Callable[[], Any]) -> Any:
        deadline = Deadline.after(round(self._policy.patience_s * 1000))
        return await retry_with_backoff(call, PATIENT, deadline=deadline)

    def _source(self, job: IngestionJob, origin: str) -> Source:
        return open_source(
            job.spec.source,
            secrets=self._secrets,
            cursor_field=job.spec.cursor_field,
            cache_path=self._policy.cache_path,
            file_root=None if origin in OPERATOR_ORIGINS else self._policy.file_root,
        )


def _context(run: Run, job: IngestionJob) -> RunContext:
    sinks = {EVENTS: job.spec.sinks.events.enabled, VECTORS: job.spec.sinks.vectors.enabled}
    return RunContext(
        run_id=run.id,
        source=run.source,
        priority=job.spec.source.priority,
        mode=job.spec.mode,
        told=frozenset(name for name, enabled in sinks.items() if enabled),
    )


class _Ending(NamedTuple):
    """Why a run is in its state: a word for programs, a sentence for people."""

    reason: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class _Lease:
    """A process's hold on a run, and the event that ends its attempt."""

    run_id: UUID
    owner: UUID
    stop: asyncio.Event


def spec_hash(job: IngestionJob) -> str:
    """Digest of what makes a job the same job (`IDENTITY_FIELDS`)."""
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    identity = {name: spec.get(name) for name in IDENTITY_FIELDS}
    return sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()


def check_job(job: IngestionJob) -> None:
    """Refuse what the manifest's schema allows and this release can't do.

    Raises
    ------
    InvalidInputError
        The field is named.
    """
    spec, problems = job.spec, []
    if spec.suspend:
        problems.append(FieldError("spec.suspend", "is true; set it to false to run the job"))
    if not spec.sinks.catalog.enabled and not spec.dry_run:
        problems.append(FieldError("spec.sinks.catalog.enabled", "must be true unless spec.dryRun is"))
    for name, given, usual in (
        ("vectors.collection", spec.sinks.vectors.collection, VectorsSink().collection),
        ("vectors.embeddingModel", spec.sinks.vectors.embedding_model, VectorsSink().embedding_model),
        ("vectors.dimension", spec.sinks.vectors.dimension, VectorsSink().dimension),
        ("events.topic", spec.sinks.events.topic, EventsSink().topic),
    ):
        if given != usual:
            problems.append(FieldError(f"spec.sinks.{name}", f"must be {usual!r}, that of the installation"))
    if problems:
        raise InvalidInputError(f"{problems[0].field}: {problems[0].message}", errors=problems)


def _ending(error: MediaGatewayError, *, stopped: bool) -> tuple[RunState, _Ending]:
    match error:
        case RunFailedError():
            return RunState.FAILED, _Ending(error.reason, error.message)
        case RunCancelledError():
            return RunState.CANCELLED, _Ending("Cancelled", error.message)
        case _ if error.retryable:
            return RunState.SUSPENDED, _Ending("Stopped" if stopped else "Unavailable", error.message)
        case _:
            return RunState.FAILED, _Ending(type(error).__name__.removesuffix("Error"), error.message)
