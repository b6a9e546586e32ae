"""Discovery's caches in Redis: answers of searches, embeddings of queries, what was understood of them.

All of them share one `CacheStore` a process and do without it when it is slow or away.
"""

from media_gateway.discovery.cache.answers import (
    DEGRADED_TTL_S,
    FULL_TTL_S,
    AnswerCache,
    Answered,
    CacheState,
    Computed,
)
from media_gateway.discovery.cache.keys import AskedSearch, CacheKey, normalised_query, search_key
from media_gateway.discovery.cache.values import ValueCache, ValueKind, embeddings, intents

__all__ = [
    "DEGRADED_TTL_S",
    "FULL_TTL_S",
    "AnswerCache",
    "Answered",
    "AskedSearch",
    "CacheKey",
    "CacheState",
    "Computed",
    "ValueCache",
    "ValueKind",
    "embeddings",
    "intents",
    "normalised_query",
    "search_key",
]
