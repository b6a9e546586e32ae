"""Discovery as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from media_gateway.core.bootstrap import open_language_model
from media_gateway.core.cache import CacheStore
from media_gateway.core.domain.vectors import Vector
from media_gateway.core.outbox import EVENTS, OutboxRelay, RelayPolicy, publish_to
from media_gateway.core.web import Component, Context
from media_gateway.discovery.activity_feed import ActivityFeed
from media_gateway.discovery.activity_routes import ANALYTICS, activity_routes
from media_gateway.discovery.admin_routes import EDITOR, REPORTS, admin_routes
from media_gateway.discovery.analytics import Analytics, SearchRetention
from media_gateway.discovery.answers import SearchAnswers
from media_gateway.discovery.cache import AnswerCache, ValueCache, embeddings, intents
from media_gateway.discovery.erasure import ErasureFeed
from media_gateway.discovery.generation import CatalogueGeneration
from media_gateway.discovery.index_feed import Indexes, IndexFeed
from media_gateway.discovery.legs import Leg, TextLeg, TitleLeg, VectorLeg
from media_gateway.discovery.meaning import CachedEmbedder, EmbeddingWatch
from media_gateway.discovery.model_reader import PROMPT_VERSION, TIMEOUT_MS, ModelReader
from media_gateway.discovery.personalisation import PersonalOrder, SonaScores
from media_gateway.discovery.pseudonyms import Pseudonyms
from media_gateway.discovery.ranking_book import RankingBook
from media_gateway.discovery.ranking_editor import RankingEditor
from media_gateway.discovery.reports import SearchReports
from media_gateway.discovery.reranking import SHIPPED, Reranker, RerankingModel
from media_gateway.discovery.routes import ANSWERS, CATALOGUE, RANKING_BOOK, routes
from media_gateway.discovery.services.catalogue import CatalogueParts, CatalogueService
from media_gateway.discovery.services.neighbourhood import Neighbourhood
from media_gateway.discovery.services.reading import QueryReading
from media_gateway.discovery.services.search import SearchParts, SearchService
from media_gateway.discovery.settings import Settings
from media_gateway.discovery.store import CatalogueReader
from media_gateway.discovery.store.activity import ActivityStore
from media_gateway.discovery.store.analytics import AnalyticsStore
from media_gateway.discovery.store.erasure import ErasureStore
from media_gateway.discovery.store.ranking import RankingStore
from media_gateway.discovery.store.reports import ReportStore
from media_gateway.discovery.store.trends import TrendStore
from media_gateway.discovery.suggestion_routes import SUGGESTIONS, suggestion_routes
from media_gateway.discovery.suggestions import Spelling, Suggestions
from media_gateway.discovery.text_index import TextIndex
from media_gateway.discovery.trending import TrendBoard


@asynccontextmanager
async def wire(context: Context[Settings]) -> AsyncIterator[None]:
    """Serve at once; the index fills in the background, and readiness waits for it."""
    settings, backends = context.settings, context.backends
    async with AsyncExitStack() as stack:
        catalogue = CatalogueReader(backends.database)
        indexes = Indexes(TextIndex(), Suggestions(), CatalogueGeneration(backends.redis))
        feed = _index_feed(context, catalogue, indexes)
        stack.callback(feed.close)
        threads = ThreadPoolExecutor(settings.search_threads, thread_name_prefix="search")
        stack.callback(threads.shutdown, wait=True, cancel_futures=True)
        pseudonyms = Pseudonyms.from_settings(settings)
        stack.push_async_callback(_wire_analytics(context, pseudonyms).close)
        _wire_activity(context, pseudonyms)
        _wire_erasure(context, pseudonyms)
        store = CacheStore(backends.redis)
        stack.push_async_callback(store.close)
        cache = AnswerCache(store)
        stack.push_async_callback(cache.close)
        neighbourhood = Neighbourhood(indexes.text, backends.vectors, threads)
        parts = SearchParts(
            legs=_legs(context, indexes.text, threads, _known_embeddings(context, store, stack)),
            index=indexes.text,
            reading=QueryReading(indexes.text, threads, _model_reader(settings, store, stack)),
            neighbourhood=neighbourhood,
            reranker=Reranker(indexes.text, RerankingModel.read(settings.reranker_path or SHIPPED)),
            spelling=Spelling(indexes.suggestions, indexes.text.frequency),
            personal=_personal_order(settings, stack),
            threads=threads,
            is_whole=lambda: feed.complete,
        )
        book = _wire_ranking(context)
        context.app[ANSWERS] = SearchAnswers(SearchService(parts), cache, indexes.generation, book)
        context.app[CATALOGUE] = CatalogueService(
            CatalogueParts(
                catalogue=catalogue,
                trends=TrendBoard(TrendStore(backends.database)),
                index=indexes.text,
                neighbourhood=neighbourhood,
                threads=threads,
                is_whole=lambda: feed.complete,
            )
        )
        context.app[SUGGESTIONS] = indexes.suggestions
        _watch(context, feed, indexes.generation)
        # The tasks may still be running at the end if the start failed halfway.
        stack.push_async_callback(context.supervisor.stop)
        yield


def _index_feed(context: Context[Settings], catalogue: CatalogueReader, indexes: Indexes) -> IndexFeed:
    settings = context.settings
    return IndexFeed(
        catalogue,
        context.backends.events,
        indexes,
        batch_ms=settings.index_batch_ms,
        reconcile_s=settings.index_reconcile_s,
    )


def _watch(context: Context[Settings], feed: IndexFeed, generation: CatalogueGeneration) -> None:
    context.health.add("text index", feed.health, critical=False)
    # A rolling update goes on when a replica is ready, and takes one away that finds everything.
    context.health.add("first text index", feed.built, critical=True)
    context.supervisor.spawn("index events", feed.follow)
    context.supervisor.spawn("index comparison", feed.keep_comparing)
    context.supervisor.spawn("embedder watch", EmbeddingWatch(context.backends.embedder).keep_looking)
    context.supervisor.spawn("catalogue generation", generation.follow)


def _legs(
    context: Context[Settings], index: TextIndex, threads: Executor, known: ValueCache[Vector]
) -> tuple[Leg, ...]:
    embedder = CachedEmbedder(context.backends.embedder, known)
    return (
        TextLeg(index, threads),
        TitleLeg(index, threads),
        VectorLeg(embedder, context.backends.vectors, index, threads),
    )


def _known_embeddings(
    context: Context[Settings], store: CacheStore, stack: AsyncExitStack
) -> ValueCache[Vector]:
    embedder = context.backends.embedder
    known = ValueCache(store, embeddings(embedder.model, embedder.dimension))
    stack.push_async_callback(known.close)
    return known


def _model_reader(settings: Settings, store: CacheStore, stack: AsyncExitStack) -> ModelReader | None:
    if settings.query_parser_url is None:
        return None
    model = open_language_model(
        settings.query_parser_url,
        name="QUERY_PARSER_URL",
        timeout_ms=TIMEOUT_MS,
        api_key=settings.query_parser_api_key,
    )
    stack.push_async_callback(model.close)
    known = ValueCache(store, intents(f"{model.model}:{PROMPT_VERSION}"))
    stack.push_async_callback(known.close)
    return ModelReader(model, known)


def _personal_order(settings: Settings, stack: AsyncExitStack) -> PersonalOrder | None:
    if settings.sona_url is None:
        return None
    scores = SonaScores(settings.sona_url)
    stack.push_async_callback(scores.close)
    return PersonalOrder(scores)


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


def _wire_erasure(context: Context[Settings], pseudonyms: Pseudonyms) -> None:
    database = context.backends.database
    feed = ErasureFeed(
        ErasureStore(database, pseudonyms),
        AnalyticsStore(database),
        context.backends.events,
        # As long again as an event of before the erasure may be late: tokens outlive the account a little.
        remembered=2 * timedelta(days=context.settings.consumed_kept_days),
    )
    context.health.add("erasure", feed.health, critical=False)
    context.supervisor.spawn("erasure events", feed.follow)
    context.supervisor.spawn("erasure retention", feed.keep_tidy)


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
