"""The graph builder against a plain numpy forward pass, with made-up weights."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from media_gateway.core.adapters.minilm.graph import HEADS, HIDDEN, LAYERS, build_graph, read_safetensors
from media_gateway.core.errors import InvalidInputError

WORDS, POSITIONS, WIDE = 50, 16, 96

Arrays = dict[str, np.ndarray]


def made_up_weights() -> Arrays:
    rng = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        for name in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            shapes |= {f"{prefix}{name}.weight": (HIDDEN, HIDDEN), f"{prefix}{name}.bias": (HIDDEN,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{prefix}{name}.weight": (HIDDEN,), f"{prefix}{name}.bias": (HIDDEN,)}
        shapes |= {
            f"{prefix}intermediate.dense.weight": (WIDE, HIDDEN),
            f"{prefix}intermediate.dense.bias": (WIDE,),
        }
        shapes |= {f"{prefix}output.dense.weight": (HIDDEN, WIDE), f"{prefix}output.dense.bias": (HIDDEN,)}
    return {name: rng.normal(scale=0.2, size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_safetensors(path: Path, weights: Arrays) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, values in weights.items():
        end = offset + values.nbytes
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, end]}  # type: ignore[dict-item]  # mixed header
        offset = end
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"".join(v.tobytes() for v in weights.values()))


def layer_norm(values: np.ndarray, weights: Arrays, name: str) -> np.ndarray:
    centred = values - values.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def linear(values: np.ndarray, weights: Arrays, name: str) -> np.ndarray:
    return np.asarray(values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def attention(hidden: np.ndarray, weights: Arrays, name: str) -> np.ndarray:
    query, key, value = (
        linear(hidden, weights, f"{name}.self.{part}").reshape(len(hidden), HEADS, -1).transpose(1, 0, 2)
        for part in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ value
    return linear(mixed.transpose(1, 0, 2).reshape(len(hidden), HIDDEN), weights, f"{name}.output.dense")


def forward(ids: list[int], weights: Arrays) -> np.ndarray:
    """One text, without padding, in float64."""
    exact = {name: values.astype(np.float64) for name, values in weights.items()}
    hidden = exact["embeddings.word_embeddings.weight"][ids]
    hidden = hidden + exact["embeddings.position_embeddings.weight"][: len(ids)]
    hidden = hidden + exact["embeddings.token_type_embeddings.weight"][0]
    hidden = layer_norm(hidden, exact, "embeddings.LayerNorm")
    gelu = np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))))
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        attended = attention(hidden, exact, f"{name}.attention") + hidden
        hidden = layer_norm(attended, exact, f"{name}.attention.output.LayerNorm")
        wide = gelu(linear(hidden, exact, f"{name}.intermediate.dense"))
        narrow = linear(wide, exact, f"{name}.output.dense") + hidden
        hidden = layer_norm(narrow, exact, f"{name}.output.LayerNorm")
    mean = hidden.mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_padded_batch_equals_a_plain_forward_pass_of_each_text(tmp_path: Path) -> None:
    weights = made_up_weights()
    write_safetensors(tmp_path / "weights", weights)
    graph = build_graph(read_safetensors(tmp_path / "weights"))
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    texts = [[3, 1, 4, 1, 5, 9, 2, 6], [7], [11, 13, 17]]
    ids = np.array([text + [0] * (8 - len(text)) for text in texts])
    mask = np.array([[1] * len(text) + [0] * (8 - len(text)) for text in texts])

    (vectors,) = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})

    for vector, text in zip(vectors, texts, strict=True):
        np.testing.assert_allclose(vector, forward(text, weights), atol=2e-6)


def test_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "weights", made_up_weights())
    first, second = (
        build_graph(read_safetensors(tmp_path / "weights")).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 3) + b"{,}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 11) + b'{"a": 12345}',
        struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[9,9],"data_offsets":[0,4]}}   ' + b"\0" * 4,
    ],
)
def test_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(InvalidInputError, match="safetensors"):
        read_safetensors(tmp_path / "weights")
