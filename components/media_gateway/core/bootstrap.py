"""The composition root: settings to open backends. The only place that maps a URL scheme to an adapter.

Each driver is imported inside its branch, so a process needs, and loads, only the packages of the backends it uses.
"""

from collections.abc import AsyncIterator, Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.settings import PREFIX, CoreSettings

if TYPE_CHECKING:
    from media_gateway.core.adapters.postgres import Database
    from media_gateway.core.adapters.redis import RedisHandle
    from media_gateway.core.ports.embedder import Embedder
    from media_gateway.core.ports.events import EventBus
    from media_gateway.core.ports.language_model import LanguageModel
    from media_gateway.core.ports.vectors import VectorIndex

BackendName = Literal["database", "redis", "vectors", "events", "embedder"]


@dataclass(frozen=True, slots=True)
class Backends:
    """What one process holds open, for its whole life. Asking for one it did not name as needed is a bug."""

    settings: CoreSettings
    _database: "Database | None" = None
    _redis: "RedisHandle | None" = None
    _vectors: "VectorIndex | None" = None
    _events: "EventBus | None" = None
    _embedder: "Embedder | None" = None

    @property
    def database(self) -> "Database":
        """Postgres."""
        assert self._database is not None, "the component does not list 'database' in its needs"
        return self._database

    @property
    def redis(self) -> "RedisHandle":
        """Redis."""
        assert self._redis is not None, "the component does not list 'redis' in its needs"
        return self._redis

    @property
    def vectors(self) -> "VectorIndex":
        """The vector store."""
        assert self._vectors is not None, "the component does not list 'vectors' in its needs"
        return self._vectors

    @property
    def events(self) -> "EventBus":
        """The event bus."""
        assert self._events is not None, "the component does not list 'events' in its needs"
        return self._events

    @property
    def embedder(self) -> "Embedder":
        """The embedding model."""
        assert self._embedder is not None, "the component does not list 'embedder' in its needs"
        return self._embedder


@asynccontextmanager
async def open_backends(settings: CoreSettings, needs: AbstractSet[BackendName]) -> AsyncIterator[Backends]:
    """Open the backends a process needs, closed in reverse order on the way out.

    Opening does not wait for servers: a process starts while its database is away and reports it in ``/health``.
    ``embedded:`` servers are the exception, they are started (or joined, if another process of this state folder runs
    them) before this returns.

    Raises
    ------
    NotConfiguredError
        A URL is not complete, or its driver is not installed; the message names the variable and the extra.
    """
    async with AsyncExitStack() as stack:
        vectors_in_database = settings.vector_url.get_secret_value().startswith("pgvector:")
        events_in_redis = settings.events_url.get_secret_value().startswith("redis-stream:")
        database = redis = vectors = events = embedder = None
        if "database" in needs or ("vectors" in needs and vectors_in_database):
            database = await _open_database(settings, stack)
        if "redis" in needs or ("events" in needs and events_in_redis):
            redis = await _open_redis(settings, stack)
        if "vectors" in needs:
            vectors = _open_vectors(settings, database)
            stack.push_async_callback(vectors.close)
        if "events" in needs:
            events = _open_events(settings, redis)
            stack.push_async_callback(events.close)
        if "embedder" in needs:
            embedder = _open_embedder(settings)
            stack.push_async_callback(embedder.close)
        yield Backends(settings, database, redis, vectors, events, embedder)


async def _open_database(settings: CoreSettings, stack: AsyncExitStack) -> "Database":
    from media_gateway.core.adapters.postgres import Database

    url = settings.database_url.get_secret_value()
    match urlsplit(url).scheme:
        case "embedded":
            from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres

            url = await stack.enter_async_context(EmbeddedPostgres(settings.state_path))
        case "postgresql" | "postgres":
            pass
        case scheme:
            raise _no_adapter("DATABASE_URL", scheme)
    database = Database(url, pool_size=settings.database_pool_size, timeout_ms=settings.database_timeout_ms)
    stack.push_async_callback(database.close)
    return database


async def _open_redis(settings: CoreSettings, stack: AsyncExitStack) -> "RedisHandle":
    from media_gateway.core.adapters.redis import RedisHandle

    url = settings.redis_url.get_secret_value()
    match urlsplit(url).scheme:
        case "embedded":
            from media_gateway.core.adapters.embedded.redis import EmbeddedRedis

            url = await stack.enter_async_context(EmbeddedRedis(settings.state_path))
        case (
            "redis"
            | "rediss"
            | "unix"
            | "redis+sentinel"
            | "rediss+sentinel"
            | "redis+cluster"
            | "rediss+cluster"
        ):
            pass
        case scheme:
            raise _no_adapter("REDIS_URL", scheme)
    try:
        handle = RedisHandle(url, timeout_ms=settings.redis_timeout_ms)
    except ValueError:
        example = f"{PREFIX}REDIS_URL=redis://host:6379/0"
        raise NotConfiguredError(f"{PREFIX}REDIS_URL: not a URL; example: {example}") from None
    stack.push_async_callback(handle.close)
    return handle


def _open_vectors(settings: CoreSettings, database: "Database | None") -> "VectorIndex":
    url = settings.vector_url.get_secret_value()
    match urlsplit(url).scheme:
        case "pgvector":
            from media_gateway.core.adapters.pgvector import PgvectorIndex

            assert database is not None
            return PgvectorIndex(database)
        case "qdrant" | "qdrant+http" | "qdrants" | "qdrants+http":
            try:
                from media_gateway.core.adapters.qdrant import QdrantIndex
            except ImportError as error:
                raise _missing("VECTOR_URL", "qdrant") from error
            return QdrantIndex(url)
        case scheme:
            raise _no_adapter("VECTOR_URL", scheme)


def _open_events(settings: CoreSettings, redis: "RedisHandle | None") -> "EventBus":
    url = settings.events_url.get_secret_value()
    match urlsplit(url).scheme:
        case "redis-stream":
            from media_gateway.core.adapters.redis_stream import RedisStreamBus, StreamOptions

            assert redis is not None
            return RedisStreamBus(redis, StreamOptions(max_events=settings.events_kept))
        case "kafka":
            try:
                from media_gateway.core.adapters.kafka import KafkaBus
            except ImportError as error:
                raise _missing("EVENTS_URL", "kafka") from error
            return KafkaBus(url)
        case scheme:
            raise _no_adapter("EVENTS_URL", scheme)


def _open_embedder(settings: CoreSettings) -> "Embedder":
    url = settings.embedder_url.get_secret_value()
    match urlsplit(url).scheme:
        case "minilm":
            from media_gateway.core.adapters.minilm import MiniLMEmbedder

            return MiniLMEmbedder(settings.models_path)
        case "openai" | "openai+http":
            from media_gateway.core.adapters.openai import OpenAIEmbedder

            key = settings.embedder_api_key
            return OpenAIEmbedder(url, api_key=key.get_secret_value() if key else None)
        case scheme:
            raise _no_adapter("EMBEDDER_URL", scheme)


def open_language_model(
    url: SecretStr, *, name: str, timeout_ms: int, api_key: SecretStr | None
) -> "LanguageModel":
    """The language model of an address; the caller closes it.

    Parameters
    ----------
    name
        Setting that the address is from, without prefix.

    Raises
    ------
    NotConfiguredError
        The address is not complete.
    """
    match urlsplit(url.get_secret_value()).scheme:
        case "openai" | "openai+http":
            from media_gateway.core.adapters.openai import OpenAIChat

            key = api_key.get_secret_value() if api_key else None
            return OpenAIChat(url.get_secret_value(), name=name, timeout_ms=timeout_ms, api_key=key)
        case scheme:
            raise _no_adapter(name, scheme)


def _no_adapter(name: str, scheme: str) -> AssertionError:
    # The settings let only the schemes through that they list, and a test opens each of them here.
    return AssertionError(f"{name} has no adapter for {scheme!r}")


def _missing(name: str, extra: str) -> NotConfiguredError:
    return NotConfiguredError(
        f"{PREFIX}{name} needs an optional package; run: pip install 'media-gateway[{extra}]'"
    )
