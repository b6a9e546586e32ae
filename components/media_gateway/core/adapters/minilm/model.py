"""One loaded model: texts to token ids, token ids to vectors. Synchronous; the embedder calls it on its threads.

It must not import ``onnx``: serving needs the runtime only.
"""

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from media_gateway.core.adapters.minilm.artifacts import (
    MODEL_FILE,
    TOKENIZER_FILE,
    check_files,
    read_manifest,
)
from media_gateway.core.domain.vectors import EMBEDDING_DIMENSION

MAX_TOKENS = 256
"""Longer texts are cut, as the model's authors do (``max_seq_length`` of its sentence-transformers configuration)."""

MAX_CHARACTERS = MAX_TOKENS * 101
"""Characters of a text that are looked at. WordPiece gives up on words over 100 characters, so this many always hold
`MAX_TOKENS` tokens, and a huge text costs no more than a long one."""

TOKENS_PER_BATCH = 512
"""Most tokens, padding included, in one run. Measured with int8 on one thread: 8 to 16 texts of 45 tokens is the
fastest batch (larger ones leave the processor's cache); it takes some 40 ms, which is what a query can wait for."""

TokenIds = NDArray[np.int64]


class MiniLM:
    """The model in memory, usable from several threads at once.

    Parameters
    ----------
    model_file
        ONNX graph with inputs ``input_ids`` and ``attention_mask`` and output ``embedding``.
    tokenizer_file
        Its ``tokenizer.json``.
    """

    def __init__(self, model_file: Path, tokenizer_file: Path) -> None:
        self._session = open_session(model_file)
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        # The published file pads every text to 128 tokens; batches here pad to their own longest text.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Token ids of each text, at most `MAX_TOKENS` each."""
        return [np.asarray(self._tokenizer.encode(text[:MAX_CHARACTERS]).ids, np.int64) for text in texts]

    def run(self, texts: Sequence[TokenIds]) -> NDArray[np.float32]:
        """Vectors of tokenised texts, shape (len(texts), 384) float32, rows L2-normalised."""
        shape = (len(texts), max(len(ids) for ids in texts))
        input_ids = np.zeros(shape, np.int64)
        attention_mask = np.zeros(shape, np.int64)
        for row, ids in enumerate(texts):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        (embedding,) = self._session.run(
            ["embedding"], {"input_ids": input_ids, "attention_mask": attention_mask}
        )
        return np.asarray(embedding, np.float32)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts on the calling thread, shape (len(texts), 384) float32."""
        token_ids = self.tokenize(texts)
        vectors = np.empty((len(texts), EMBEDDING_DIMENSION), np.float32)
        for rows in batches_by_length([len(ids) for ids in token_ids]):
            vectors[rows] = self.run([token_ids[row] for row in rows])
        return vectors


def open_session(model_file: Path) -> ort.InferenceSession:
    """A session that computes on the calling thread and keeps no memory between runs.

    Without the arena the peak of the largest batch goes back to the system; measured, it costs no speed here (8,192
    tokens once: 256 MB instead of 541 MB kept for good).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])


def batches_by_length(lengths: Sequence[int], tokens_per_batch: int = TOKENS_PER_BATCH) -> list[list[int]]:
    """Places of the texts, grouped so that a batch is of like lengths and of bounded size.

    Parameters
    ----------
    lengths
        Token counts.
    tokens_per_batch
        Most tokens of a batch with padding; a single longer text makes a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    starts = [0] if order else []
    for place, row in enumerate(order):
        if place > starts[-1] and (place - starts[-1] + 1) * lengths[row] > tokens_per_batch:
            starts.append(place)
    return [order[start:end] for start, end in pairwise([*starts, len(order)])]


_loaded: WeakValueDictionary[Path, MiniLM] = WeakValueDictionary()
_loading = threading.Lock()


def load_model(folder: Path) -> MiniLM:
    """The model of a folder, shared by everyone in this process who still uses it.

    Raises
    ------
    UnavailableError
        It is not built, or a file is damaged.
    """
    with _loading:
        model = _loaded.get(folder)
        if model is None:
            check_files(folder, read_manifest(folder))
            model = MiniLM(folder / MODEL_FILE, folder / TOKENIZER_FILE)
            _loaded[folder] = model
        return model
