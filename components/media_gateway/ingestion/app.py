"""Ingestion as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from media_gateway.core.bootstrap import Backends
from media_gateway.core.outbox import RelayPolicy
from media_gateway.core.web import Component, Context
from media_gateway.ingestion.routes import INTAKE, JOBS, routes
from media_gateway.ingestion.services.catalogue import CatalogueWriter
from media_gateway.ingestion.services.jobs import JobService, JobWorker, Retention
from media_gateway.ingestion.services.relays import events_relay
from media_gateway.ingestion.services.runs import Runner, RunPolicy
from media_gateway.ingestion.services.vectors import VectorWriter
from media_gateway.ingestion.services.webhooks import WebhookIntake, WebhookWorker
from media_gateway.ingestion.settings import Settings
from media_gateway.ingestion.sources import FileRoot, Secrets


def make_runner(settings: Settings, backends: Backends) -> Runner:
    """What opens jobs and works on them; also for the command line."""
    policy = RunPolicy(
        lease=timedelta(seconds=settings.ingestion_lease_s),
        patience_s=settings.ingestion_patience_s,
        file_root=FileRoot(settings.ingestion_file_dir),
        cache_path=settings.state_path / "cache",
    )
    catalogue = CatalogueWriter(backends.database, backends.vectors)
    return Runner(backends.database, catalogue, secrets=Secrets(settings.secrets_dir), policy=policy)


@asynccontextmanager
async def wire(context: Context[Settings]) -> AsyncIterator[None]:
    """Jobs, webhooks and the relays of the outbox work in the background."""
    settings, backends = context.settings, context.backends
    runner = make_runner(settings, backends)
    service = JobService(runner)
    context.app[JOBS] = service
    context.app[INTAKE] = WebhookIntake(backends.redis, settings)
    vectors = VectorWriter(backends.database, backends.vectors, backends.embedder)
    webhooks = WebhookWorker(
        backends.redis,
        CatalogueWriter(backends.database, backends.vectors),
        runner.store,
        settings.webhook_presets,
    )
    retention = Retention(runner, timedelta(days=settings.ingestion_retention_days))
    spawn = context.supervisor.spawn
    policy = RelayPolicy.from_settings(settings)
    spawn("event relay", events_relay(backends.database, backends.events, policy).run)
    spawn("vector relay", vectors.relay(policy).run)
    spawn("webhooks", webhooks.run)
    spawn("retention", retention.run)
    for number in range(settings.ingestion_workers):
        spawn(f"jobs {number + 1}", JobWorker(runner, service).run)
    yield


COMPONENT = Component(
    name="ingestion",
    port=8085,
    settings=Settings,
    needs=frozenset({"database", "redis", "vectors", "events", "embedder"}),
    routes=(routes,),
    wire=wire,
    summary="Brings catalogues in: jobs that read sources, webhooks, vectors and events of what has changed.",
)
