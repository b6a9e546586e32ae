"""Discovery as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from media_gateway.core.web import Component, Context
from media_gateway.discovery.index_feed import IndexFeed
from media_gateway.discovery.legs import TextLeg
from media_gateway.discovery.meaning import EmbeddingWatch
from media_gateway.discovery.routes import SERVICE, routes
from media_gateway.discovery.service import DiscoveryService
from media_gateway.discovery.settings import Settings
from media_gateway.discovery.store import CatalogueReader
from media_gateway.discovery.text_index import TextIndex


@asynccontextmanager
async def wire(context: Context[Settings]) -> AsyncIterator[None]:
    """Serve at once; the index fills in the background, and readiness waits for it."""
    settings, backends = context.settings, context.backends
    catalogue = CatalogueReader(backends.database)
    index = TextIndex()
    feed = IndexFeed(
        catalogue,
        backends.events,
        index,
        batch_ms=settings.index_batch_ms,
        reconcile_s=settings.index_reconcile_s,
    )
    threads = ThreadPoolExecutor(settings.search_threads, thread_name_prefix="search")
    meaning = EmbeddingWatch(backends.embedder)
    context.app[SERVICE] = DiscoveryService(
        catalogue, lambda: feed.complete and meaning.available, TextLeg(index, threads), index, threads
    )
    context.health.add("text index", feed.health, critical=False)
    # A rolling update goes on when a replica is ready, and takes one away that finds everything.
    context.health.add("first text index", feed.built, critical=True)
    context.supervisor.spawn("index events", feed.follow)
    context.supervisor.spawn("index comparison", feed.keep_comparing)
    context.supervisor.spawn("embedder watch", meaning.keep_looking)
    try:
        yield
    finally:
        # The tasks may still be running here if the start failed halfway.
        await context.supervisor.stop()
        threads.shutdown(wait=True, cancel_futures=True)
        feed.close()


COMPONENT = Component(
    name="discovery",
    port=8081,
    settings=Settings,
    needs=frozenset({"database", "embedder", "events"}),
    routes=(routes,),
    wire=wire,
    summary="Finds what to watch: search, contents, where they can be watched, what is trending.",
)
