"""Where built model files lie and how their soundness is told.

Used by the builder (writes), the embedder and the ``models`` commands (read). Imports no model library.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from media_gateway.core.domain.vectors import EMBEDDING_MODEL
from media_gateway.core.errors import UnavailableError

RECIPE = 1
"""Raised whenever the builder makes different files from the same weights, so that old and new never mix."""

FOLDER_NAME = f"{EMBEDDING_MODEL}-r{RECIPE}"
"""Folder of the model inside the models folder."""

MODEL_FILE = "model.int8.onnx"
FP32_FILE = "model.fp32.onnx"
TOKENIZER_FILE = "tokenizer.json"
MANIFEST_FILE = "manifest.json"

READ_SIZE_BYTES = 1 << 20
"""Piece of a file that is hashed at a time."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model folder holds.

    Attributes
    ----------
    model, dimension, precision : str, int, str
        Name and vector length of the model; ``int8`` or ``fp32``.
    recipe : int
        `RECIPE` of the builder that made it.
    created_at : str
        UTC, ISO 8601.
    source : dict
        Package, version, hashes and licence of the weights.
    built_with : dict
        Versions of the libraries that made the files.
    check : dict
        Result of the builder's comparison with fp32.
    files : dict
        SHA-256 by file name.
    """

    model: str
    dimension: int
    precision: str
    recipe: int
    created_at: str
    source: dict[str, str]
    built_with: dict[str, str]
    check: dict[str, float]
    files: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write it into a model folder."""
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def model_folder(models_path: Path) -> Path:
    """Folder of this model, whether it exists or not."""
    return models_path.expanduser() / FOLDER_NAME


def read_manifest(folder: Path) -> Manifest:
    """Manifest of a built model.

    Raises
    ------
    UnavailableError
        The model is not built, or its manifest can't be read.
    """
    try:
        raw: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_bytes())
        return Manifest(**raw)
    except FileNotFoundError as error:
        raise UnavailableError(
            "the embedding model is not built yet; run `media-gateway models build`"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise UnavailableError(
            "the embedding model's manifest can't be read; run `media-gateway models build`"
        ) from error


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file's hash with the manifest.

    Raises
    ------
    UnavailableError
        A file is missing or differs, named in the message.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != expected:
            raise UnavailableError(
                f"the embedding model's file {name} is missing or damaged; run `media-gateway models build`"
            )


def is_sound(folder: Path) -> bool:
    """Whether the model is built and its files are what the manifest says."""
    try:
        check_files(folder, read_manifest(folder))
    except UnavailableError:
        return False
    return True


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(READ_SIZE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
