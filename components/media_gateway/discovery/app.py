"""Discovery as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

from media_gateway.core.outbox import EVENTS, OutboxRelay, RelayPolicy, publish_to
from media_gateway.core.web import Component, Context
from media_gateway.discovery.activity_feed import ActivityFeed
from media_gateway.discovery.activity_routes import ANALYTICS, activity_routes
from media_gateway.discovery.admin_routes import EDITOR, REPORTS, admin_routes
from media_gateway.discovery.analytics import Analytics, SearchRetention
from media_gateway.discovery.answers import SearchAnswers
from media_gateway.discovery.cache import AnswerCache, CacheStore, ValueCache, embeddings
from media_gateway.discovery.generation import CatalogueGeneration
from media_gateway.discovery.index_feed import Indexes, IndexFeed
from media_gateway.discovery.legs import TextLeg, TitleLeg, VectorLeg
from media_gateway.discovery.meaning import CachedEmbedder, EmbeddingWatch
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.ranking_book import RankingBook
from media_gateway.discovery.ranking_editor import RankingEditor
from media_gateway.discovery.reports import SearchReports
from media_gateway.discovery.routes import ANSWERS, CATALOGUE, RANKING_BOOK, routes
from media_gateway.discovery.services.catalogue import CatalogueService
from media_gateway.discovery.services.search import SearchService
from media_gateway.discovery.settings import Settings
from media_gateway.discovery.store import CatalogueReader
from media_gateway.discovery.store.activity import ActivityStore
from media_gateway.discovery.store.analytics import AnalyticsStore
from media_gateway.discovery.store.ranking import RankingStore
from media_gateway.discovery.store.reports import ReportStore
from media_gateway.discovery.store.trends import TrendStore
from media_gateway.discovery.suggestion_routes import SUGGESTIONS, suggestion_routes
from media_gateway.discovery.suggestions import Suggestions
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.trending import TrendBoard


@asynccontextmanager
async def wire(context: Context[Settings]) -> AsyncIterator[None]:
    """Serve at once; the index fills in the background, and readiness waits for it."""
    settings, backends = context.settings, context.backends
    catalogue = CatalogueReader(backends.database)
    index, suggestions = TextIndex(), Suggestions()
    generation = CatalogueGeneration(backends.redis)
    feed = IndexFeed(
        catalogue,
        backends.events,
        Indexes(index, suggestions, generation),
        batch_ms=settings.index_batch_ms,
        reconcile_s=settings.index_reconcile_s,
    )
    threads = ThreadPoolExecutor(settings.search_threads, thread_name_prefix="search")
    meaning = EmbeddingWatch(backends.embedder)
    store = CacheStore(backends.redis)
    cache = AnswerCache(store)
    known = ValueCache(store, embeddings(backends.embedder.model, backends.embedder.dimension))
    legs = (
        TextLeg(index, threads),
        TitleLeg(index, threads),
        VectorLeg(CachedEmbedder(backends.embedder, known), backends.vectors, index, threads),
    )
    book = _wire_ranking(context)
    search = SearchService(legs, index, threads, lambda: feed.complete)
    context.app[ANSWERS] = SearchAnswers(search, cache, generation, book)
    trends = TrendBoard(TrendStore(backends.database))
    context.app[CATALOGUE] = CatalogueService(catalogue, trends, index, backends.vectors, threads)
    context.app[SUGGESTIONS] = suggestions
    context.health.add("text index", feed.health, critical=False)
    # A rolling update goes on when a replica is ready, and takes one away that finds everything.
    context.health.add("first text index", feed.built, critical=True)
    context.supervisor.spawn("index events", feed.follow)
    context.supervisor.spawn("index comparison", feed.keep_comparing)
    context.supervisor.spawn("embedder watch", meaning.keep_looking)
    context.supervisor.spawn("catalogue generation", generation.follow)
    pseudonyms = Pseudonyms.from_settings(settings)
    analytics = _wire_analytics(context, pseudonyms)
    _wire_activity(context, pseudonyms)
    try:
        yield
    finally:
        # The tasks may still be running here if the start failed halfway.
        await context.supervisor.stop()
        await cache.close()
        await known.close()
        await store.close()
        await analytics.close()
        threads.shutdown(wait=True, cancel_futures=True)
        feed.close()


def _wire_ranking(context: Context[Settings]) -> RankingBook:
    store = RankingStore(context.backends.database)
    book = RankingBook(store)
    context.app[RANKING_BOOK] = book
    context.app[EDITOR] = RankingEditor(store, book)
    context.health.add("ranking configuration", book.health, critical=False)
    context.supervisor.spawn("ranking watch", book.follow)
    return book


def _wire_activity(context: Context[Settings], pseudonyms: Pseudonyms) -> None:
    feed = ActivityFeed(
        ActivityStore(context.backends.database, pseudonyms),
        context.backends.events,
        max_age=timedelta(days=context.settings.consumed_kept_days),
    )
    context.health.add("activity", feed.health, critical=False)
    context.supervisor.spawn("activity events", feed.follow)
    context.supervisor.spawn("activity retention", feed.keep_tidy)


def _wire_analytics(context: Context[Settings], pseudonyms: Pseudonyms) -> Analytics:
    settings, database = context.settings, context.backends.database
    store = AnalyticsStore(database)
    analytics = Analytics(store, pseudonyms)
    context.app[ANALYTICS] = analytics
    context.app[REPORTS] = SearchReports(ReportStore(database))
    relay = OutboxRelay(
        database, {EVENTS: publish_to(context.backends.events)}, RelayPolicy.from_settings(settings)
    )
    context.health.add("search analytics", analytics.health, critical=False)
    context.supervisor.spawn("search event writer", analytics.run)
    context.supervisor.spawn(
        "search retention", SearchRetention(store, timedelta(days=settings.analytics_kept_days)).run
    )
    context.supervisor.spawn("event relay", relay.run)
    return analytics


COMPONENT = Component(
    name="discovery",
    port=8081,
    settings=Settings,
    needs=frozenset({"database", "embedder", "events", "redis", "vectors"}),
    routes=(routes, suggestion_routes, activity_routes, admin_routes),
    wire=wire,
    summary="Finds what to watch: search, contents, where they can be watched, what is trending.",
)
