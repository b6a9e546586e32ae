"""Queries as vectors, for the vector leg.

A model may be built, or come back, while discovery runs; it is made ready before the first query needs it.
"""

import asyncio
from typing import Protocol

import numpy as np
import structlog

from media_gateway.core.domain.vectors import Vector
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.ports.embedder import Embedder
from media_gateway.discovery.cache import ValueCache

ASK_EVERY_S = 2.0
"""Pause between two questions, in seconds: a model just built counts soon, and asking costs a look at a small file."""

_log = structlog.get_logger(__name__)


class QueryEmbedder(Protocol):
    """What makes a query's vector."""

    async def embed_query(self, text: str) -> Vector:
        """The vector of a text.

        Raises
        ------
        UnavailableError
            The model is not built yet or the server can't be reached.
        """


class CachedEmbedder:
    """Embeds queries; one that was embedded before is looked up.

    Parameters
    ----------
    cache
        Of embeddings by this model.
    """

    def __init__(self, embedder: Embedder, cache: ValueCache[Vector]) -> None:
        self._embedder = embedder
        self._cache = cache

    async def embed_query(self, text: str) -> Vector:
        """See `QueryEmbedder`."""

        async def compute() -> Vector:
            return np.asarray((await self._embedder.embed([text]))[0], np.float32)

        return await self._cache.get(text, compute)


class EmbeddingWatch:
    """Asks the embedder now and then.

    Parameters
    ----------
    embedder
        Who is asked.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.available = False

    async def look(self) -> None:
        """Ask once."""
        try:
            await self._embedder.ping()
            if not self.available:
                # A model is loaded by its first call, which takes longer than a query may wait.
                await self._embedder.embed(["ready"])
        except MediaGatewayError as error:
            if self.available:
                _log.warning("queries can't be embedded; searching by text only", problem=error.message)
            self.available = False
        else:
            self.available = True

    async def keep_looking(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(ASK_EVERY_S)
