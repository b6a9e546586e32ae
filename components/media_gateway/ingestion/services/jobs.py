"""Jobs given to the service by HTTP: taken in by `JobService`, worked on in the background by `JobWorker`."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from media_gateway.core.domain.specs import parse_manifest
from media_gateway.core.errors import ConflictError, MediaGatewayError
from media_gateway.ingestion.runs import Run, StoredDeadLetter
from media_gateway.ingestion.services.runs import Runner

ORIGIN = "api"

POLL_S = 1.0
"""How often a worker looks for jobs of other processes; a job given to this process wakes it at once."""

SUSPENDED_PAUSE = timedelta(seconds=30)
"""How long a job that something was missing for is left alone before it is tried again."""

PURGE_EVERY_S = 3_600.0

_log = structlog.get_logger(__name__)


class JobService:
    """Jobs as the API shows them.

    Parameters
    ----------
    runner
        Opens them; its policy says which files they may read.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._store = runner.store
        self.given = asyncio.Event()
        """Set when a job was given."""

    async def submit(self, manifest: Mapping[str, Any]) -> Run:
        """Take a job in; the unfinished job of the same manifest if there is one.

        Raises
        ------
        InvalidInputError
            The manifest is wrong, or names files outside of the folder for them.
        NotConfiguredError
            A secret or an optional package is missing.
        """
        run = await self._runner.open(parse_manifest(dict(manifest)), origin=ORIGIN)
        self.given.set()
        return run

    async def get(self, run_id: UUID) -> Run:
        """A job; raises `NotFoundError` if there is none of that id."""
        return await self._store.get(run_id)

    async def page(self, *, before: UUID | None, limit: int) -> list[Run]:
        """Jobs, newest first."""
        return await self._store.page(before=before, limit=limit)

    async def dead_letters(self, run_id: UUID, *, after: int, limit: int) -> list[StoredDeadLetter]:
        """Rejected records of a job; raises `NotFoundError` if there is none of that id."""
        await self._store.get(run_id)
        return await self._store.dead_letters(run_id, after=after, limit=limit)

    async def cancel(self, run_id: UUID) -> Run:
        """Ask to stop a job; raises `ConflictError` if it is finished, `NotFoundError` if there is none."""
        return await self._store.request_cancel(run_id)

    async def sources(self) -> list[Run]:
        """The newest job of each source."""
        return await self._store.newest_by_source()


class JobWorker:
    """Works on jobs from the API, one at a time.

    Parameters
    ----------
    runner
        Does the work.
    service
        Tells when there is some.
    """

    def __init__(self, runner: Runner, service: JobService) -> None:
        self._runner = runner
        self._service = service

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._service.given.clear()
            run_id = await self._runner.store.next_for(ORIGIN, pause=SUSPENDED_PAUSE)
            if run_id is None:
                await self._wait()
                continue
            try:
                await self._runner.execute(run_id)
            except ConflictError:
                # Another worker was faster.
                await asyncio.sleep(0)
            except MediaGatewayError as error:
                _log.warning("job not worked on", run=str(run_id), error=error.message)
                await asyncio.sleep(POLL_S)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._service.given.wait()
        except TimeoutError:
            return


class Retention:
    """Deletes what is kept long enough.

    Parameters
    ----------
    runner
        Whose store is cleaned.
    age
        How long finished jobs are kept.
    """

    def __init__(self, runner: Runner, age: timedelta) -> None:
        self._runner = runner
        self._age = age

    async def run(self) -> None:
        """Look every hour until cancelled."""
        while True:
            gone = await self._runner.store.purge(self._age)
            if gone:
                _log.info("old jobs deleted", jobs=gone)
            await asyncio.sleep(PURGE_EVERY_S)
