"""Port to the embedding model. Backend adapters: `minilm:` (ONNX in process) and `openai:` (any compatible server)."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Texts to vectors."""

    @property
    def model(self) -> str:
        """Name of the model; stored with every vector, never mixed."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in the order given.

        Returns
        -------
        ndarray
            Shape (len(texts), dimension) float32, rows L2-normalised. Does not block the event loop.

        Raises
        ------
        UnavailableError
            The model is not built yet or the server can't be reached.
        """

    async def ping(self) -> None:
        """Return if embedding is possible now."""

    async def close(self) -> None:
        """Free the model or connections."""
