"""Whether queries can be searched by meaning: the embedding model may be built, or come back, while discovery runs.

`service` marks answers as degraded while it is away. Nothing here embeds.
"""

import asyncio

import structlog

from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.ports.embedder import Embedder

ASK_EVERY_S = 2.0
"""Pause between two questions, in seconds: a model just built counts soon, and asking costs a look at a small file."""

_log = structlog.get_logger(__name__)


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
