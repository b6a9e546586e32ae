"""How texts are grouped, and what the embedder does before there is a model."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.adapters.minilm.artifacts import MANIFEST_FILE, model_folder
from media_gateway.core.adapters.minilm.model import batches_by_length
from media_gateway.core.errors import UnavailableError


@given(st.lists(st.integers(1, 256), max_size=200), st.integers(1, 600))
def test_batches_hold_every_text_once_within_the_bound_and_sorted(lengths: list[int], bound: int) -> None:
    batches = batches_by_length(lengths, bound)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= bound
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(lengths)


def test_texts_of_45_tokens_go_in_batches_of_the_measured_best_size() -> None:
    assert {len(batch) for batch in batches_by_length([45] * 110)} == {11}


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"model": 1}', "\0"])
async def test_unreadable_manifest_is_unavailable_with_the_command_to_run(
    tmp_path: Path, manifest: str
) -> None:
    model_folder(tmp_path).mkdir()
    (model_folder(tmp_path) / MANIFEST_FILE).write_text(manifest)
    embedder = MiniLMEmbedder(tmp_path)
    with pytest.raises(UnavailableError, match="media-gateway models build"):
        await embedder.embed(["text"])
    with pytest.raises(UnavailableError):
        await embedder.ping()
    await embedder.close()


def test_serving_imports_neither_the_builder_nor_onnx() -> None:
    script = (
        "import sys, media_gateway.core.adapters.minilm, media_gateway.core.adapters.minilm.background\n"
        "print([name for name in ('onnx', 'onnxruntime.quantization', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
