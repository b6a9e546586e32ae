"""What is worked out from a text and needed again: embeddings of queries, what a model understood of them.

A value is looked for in this process, then in Redis, then computed, once for all who want it at the time. Texts are
keyed by their digest: Redis holds nobody's words.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np
import orjson
from prometheus_client import Counter

from media_gateway.core.cache import CacheStore, Flights
from media_gateway.core.domain.vectors import Vector
from media_gateway.core.errors import MediaGatewayError

V = TypeVar("V")

EMBEDDING_TTL_S = 3_600.0
"""An embedding never changes; this bounds how many are kept."""

INTENT_TTL_S = 600.0
"""What a language model understood may be better the next time."""

RECENT_COUNT = 1_024
"""Values in this process: of embeddings with 384 numbers, 1.5 MB."""

RECENT_S = 60.0
"""How long a value is given from this process; it outlives its time in Redis by no more."""

_results = Counter(
    "mgw_value_cache_total", "Lookups of values by text, by what was found", ["cache", "result"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueKind(Generic[V]):
    """One kind of values and how it is written.

    Attributes
    ----------
    name : str
        First part of the key, and the label in metrics.
    maker : str
        What computes them; values of two makers are never mixed up.
    ttl_s : float
        How long a value is kept, in seconds.
    to_bytes, from_bytes : callable
        Writing and reading; reading raises ValueError for what was not written so.
    """

    name: str
    maker: str
    ttl_s: float
    to_bytes: Callable[[V], bytes]
    from_bytes: Callable[[bytes], V]


def embeddings(model: str, dimension: int) -> ValueKind[Vector]:
    """Embeddings of one model, kept as little-endian float32; those read are read-only."""

    def read(body: bytes) -> Vector:
        if len(body) != dimension * 4:
            raise ValueError(f"an embedding of {model} has {dimension} numbers, this has {len(body) / 4}")
        return np.frombuffer(body, "<f4")

    def write(vector: Vector) -> bytes:
        return read(np.asarray(vector, "<f4").tobytes()).tobytes()

    return ValueKind(
        name="embedding", maker=f"{model}:{dimension}", ttl_s=EMBEDDING_TTL_S, to_bytes=write, from_bytes=read
    )


def intents(parser: str) -> ValueKind[dict[str, Any]]:
    """What one parser (its model and the version of its prompt) understood of queries, kept as JSON."""

    def read(body: bytes) -> dict[str, Any]:
        intent = orjson.loads(body)
        if not isinstance(intent, dict):
            raise ValueError("an intent is a JSON object")  # noqa: TRY004 - as for any other wrong content
        return intent

    return ValueKind(name="intent", maker=parser, ttl_s=INTENT_TTL_S, to_bytes=orjson.dumps, from_bytes=read)


class ValueCache(Generic[V]):
    """Values of one kind by text.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(
        self, store: CacheStore, kind: ValueKind[V], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._kind = kind
        self._clock = clock
        self._recent: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._flights: Flights[bytes] = Flights(self._keep)

    async def get(self, text: str, compute: Callable[[], Awaitable[V]]) -> V:
        """The value of a text, kept or computed. Each caller gets an object of its own.

        Raises
        ------
        Exception
            What ``compute`` raised; nothing is kept then.
        """
        # A text that is no valid Unicode is for ``compute`` to refuse.
        digest = sha256(text.encode(errors="surrogatepass")).hexdigest()
        key = f"{self._kind.name}:{self._kind.maker}:{digest}"
        body = self._from_process(key)
        result = "recent"
        if body is None:
            body, result = await self._from_redis(key)
        _results.labels(self._kind.name, result).inc()
        if body is None:

            async def computed() -> bytes:
                return self._kind.to_bytes(await compute())

            body = await self._flights.result(key, computed)
        return self._kind.from_bytes(body)

    async def close(self) -> None:
        """End computations that go on in the background; values already computed are still stored."""
        await self._flights.close()

    def _from_process(self, key: str) -> bytes | None:
        body, until_s = self._recent.get(key, (None, 0.0))
        if body is None:
            return None
        if self._clock() >= until_s:
            del self._recent[key]
            return None
        self._recent.move_to_end(key)
        return body

    async def _from_redis(self, key: str) -> tuple[bytes | None, str]:
        try:
            body = await self._store.get(key)
        except MediaGatewayError:
            return None, "bypass"
        if body is None or not self._readable(body):
            return None, "miss"
        self._remember(key, body)
        return body, "hit"

    def _readable(self, body: bytes) -> bool:
        try:
            self._kind.from_bytes(body)
        except ValueError:
            return False
        return True

    async def _keep(self, key: str, body: bytes) -> bool:
        self._remember(key, body)
        return await self._store.put(key, body, life_s=self._kind.ttl_s)

    def _remember(self, key: str, body: bytes) -> None:
        self._recent[key] = (body, self._clock() + RECENT_S)
        self._recent.move_to_end(key)
        if len(self._recent) > RECENT_COUNT:
            self._recent.popitem(last=False)
