"""Loads the demo catalogue that ships with the package. ``media-gateway up`` calls it at every start."""

import asyncio
from importlib import resources

import yaml

from media_gateway.core.bootstrap import Backends
from media_gateway.core.domain.specs import IngestionJob, parse_manifest
from media_gateway.core.settings import load_settings
from media_gateway.ingestion.app import make_runner
from media_gateway.ingestion.runs import Run
from media_gateway.ingestion.services.meter import OnProgress
from media_gateway.ingestion.services.runs import spec_hash
from media_gateway.ingestion.settings import Settings

MANIFEST = "demo-job.yaml"


def demo_job() -> IngestionJob:
    """The packaged manifest."""
    text = resources.files("media_gateway.ingestion").joinpath(MANIFEST).read_text(encoding="utf-8")
    return parse_manifest(yaml.safe_load(text))


async def run_demo(
    backends: Backends, on_progress: OnProgress | None = None, *, stop: asyncio.Event | None = None
) -> Run:
    """Bring the demo films into the catalogue; does nothing if this release's demo job was complete before.

    Vectors and events follow through the outbox. An interrupted call is continued by the next one.

    Raises
    ------
    UnavailableError
        Postgres is away, or the films can't be downloaded now.
    ConflictError
        Another process is loading them.
    MediaGatewayError
        The job has failed.
    """
    job = demo_job()
    runner = make_runner(load_settings(Settings), backends)
    done = await runner.store.last_complete(job.metadata.name, spec_hash(job))
    if done is not None:
        return done
    run = await runner.open(job, origin="up")
    result = await runner.execute(run.id, stop=stop, on_progress=on_progress)
    if result.error is not None:
        raise result.error
    return result.run
