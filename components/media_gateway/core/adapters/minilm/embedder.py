"""The `Embedder` over the model in this process. Bootstrap makes one for each process that embeds."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from media_gateway.core.adapters.minilm.artifacts import model_folder, read_manifest
from media_gateway.core.adapters.minilm.model import MiniLM, batches_by_length, load_model
from media_gateway.core.domain.vectors import EMBEDDING_DIMENSION, EMBEDDING_MODEL, check_texts
from media_gateway.core.errors import UnavailableError

THREADS = min(2, os.cpu_count() or 1)
"""One call uses one thread at a time, so with two a query starts at once while documents are embedded."""

TEXTS_PER_TOKENIZATION = 64
"""Texts tokenised in one go, a few milliseconds of work."""

P = ParamSpec("P")
R = TypeVar("R")


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 in this process.

    The model is loaded at the first call. Until its files exist every call raises `UnavailableError`; once another
    process or a background task has built them, calls succeed without a restart.

    Work is cut into short runs that take turns, one run of each call after the other, so a query never waits for a
    whole batch of documents. A cancelled call gives up its remaining runs.

    Parameters
    ----------
    models_path
        Folder of built models.
    threads
        Runs at the same time.
    """

    def __init__(self, models_path: Path, *, threads: int = THREADS) -> None:
        self._folder = model_folder(models_path)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._loaded: MiniLM | None = None

    @property
    def model(self) -> str:
        """Name of the model."""
        return EMBEDDING_MODEL

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return EMBEDDING_DIMENSION

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in the order given; of long texts, the first 256 tokens.

        Returns
        -------
        ndarray
            Shape (len(texts), 384) float32, rows L2-normalised.

        Raises
        ------
        UnavailableError
            The model is not built yet, damaged, or this embedder is closed.
        InvalidInputError
            A text is not valid Unicode.
        """
        check_texts(texts)
        vectors = np.empty((len(texts), EMBEDDING_DIMENSION), np.float32)
        if not len(texts):
            return vectors
        model = self._loaded
        if model is None:
            model = await self._on_thread(self._load)
        token_ids = []
        for start in range(0, len(texts), TEXTS_PER_TOKENIZATION):
            piece = texts[start : start + TEXTS_PER_TOKENIZATION]
            token_ids += await self._on_thread(model.tokenize, piece)
        # The pool starts work in the order it is handed in, and a call hands in its next run only when the last is
        # done: that makes concurrent calls take turns.
        for rows in batches_by_length([len(ids) for ids in token_ids]):
            vectors[rows] = await self._on_thread(model.run, [token_ids[row] for row in rows])
        return vectors

    async def ping(self) -> None:
        """Return if the model is built; does not load it.

        Raises
        ------
        UnavailableError
            It is not.
        """
        if self._loaded is None:
            await asyncio.to_thread(read_manifest, self._folder)

    async def close(self) -> None:
        """Free the model once the runs that have begun are done."""
        await asyncio.to_thread(self._threads.shutdown)
        self._loaded = None

    def _load(self) -> MiniLM:
        self._loaded = load_model(self._folder)
        return self._loaded

    async def _on_thread(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            future = self._threads.submit(call, *args, **kwargs)
        except RuntimeError as error:
            raise UnavailableError("the embedder is closed") from error
        return await asyncio.wrap_future(future)
