"""A discovery that serves the demo catalogue, for measuring how good its answers are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

from media_gateway.core.bootstrap import open_backends
from media_gateway.core.domain.specs import IngestionJob
from media_gateway.core.settings import CoreSettings
from media_gateway.ingestion.demo import demo_job
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from media_gateway.ingestion.services.runs import Runner, RunPolicy
from media_gateway.ingestion.services.vectors import VectorWriter
from media_gateway.ingestion.sources import Secrets
from tests.support.discovery import SECRET, running_discovery
from tests.support.ingestion_sources import DEMO_CACHE
from tests.support.models import CACHE
from tests.support.up import QUIET
from tests.support.waiting import eventually

NO_MODEL = QUIET["MEDIA_GATEWAY_EMBEDDER_URL"]

EMBEDDING_LIMIT_S = 900.0
"""Longest the vectors of all films may take: some 80 s on an idle machine of two cores."""


@asynccontextmanager
async def demo_discovery(database_url: str, redis_url: str, *, vectors: bool) -> AsyncIterator[str]:
    """The address of a discovery that has all films of the demo catalogue in its index.

    Parameters
    ----------
    database_url
        Of an empty, migrated database.
    vectors
        Also embed the films, which takes minutes; the model has to be there (`models_path`). Without them every answer
        is degraded: text only.
    """
    settings: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "auth_secret": SECRET,
        "model_dir": CACHE / "models",
        **({} if vectors else {"embedder_url": NO_MODEL}),
    }
    await load_films(CoreSettings(**settings), vectors=vectors)
    async with running_discovery(**settings) as discovery:
        await eventually(lambda: _is_built(discovery.session, discovery.url), timeout_s=240, interval_s=0.1)
        if vectors:
            await discovery.built()  # and sees the model
        yield discovery.url


def films_job(*, vectors: bool) -> IngestionJob:
    """The job of `media-gateway up`, but for offerings: no judged query asks where a film can be watched."""
    job = demo_job()
    source, sinks = job.spec.source, job.spec.sinks
    assert source.demo is not None
    changed = {
        "source": source.model_copy(update={"demo": source.demo.model_copy(update={"availability": False})}),
        "sinks": sinks.model_copy(update={"vectors": sinks.vectors.model_copy(update={"enabled": vectors})}),
    }
    return job.model_copy(update={"spec": job.spec.model_copy(update=changed)})


async def load_films(settings: CoreSettings, *, vectors: bool) -> None:
    """Bring the demo films into the catalogue."""
    async with open_backends(settings, {"database", "vectors", "embedder"}) as backends:
        catalogue = CatalogueWriter(backends.database, backends.vectors)
        runner = Runner(
            backends.database, catalogue, secrets=Secrets(environ={}), policy=RunPolicy(cache_path=DEMO_CACHE)
        )
        run = await runner.open(films_job(vectors=vectors), origin="up")
        result = await runner.execute(run.id)
        if result.error is not None:
            raise result.error
        if vectors:
            writer = VectorWriter(backends.database, backends.vectors, backends.embedder)
            assert await writer.relay().drain(timeout_s=EMBEDDING_LIMIT_S)


async def _is_built(session: ClientSession, url: str) -> bool:
    async with session.get(f"{url}/health/ready") as response:
        return response.status == 200
