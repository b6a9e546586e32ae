"""The ONNX graph of a BERT sentence encoder, made from a safetensors file with numpy and ``onnx`` alone.

Used by the builder only. The graph takes token ids and a mask and gives L2-normalised mean-pooled vectors, so pooling
and normalisation run in the same session as the transformer.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from media_gateway.core.errors import InvalidInputError

OPSET = 20
"""First ONNX opset with an exact ``Gelu`` operator."""

IR_VERSION = 10
"""File format version read by onnxruntime 1.18 and newer."""

LAYERS = 6
HEADS = 12
HIDDEN = 384
"""Shape of all-MiniLM-L6-v2 (its ``config.json``)."""

LAYER_NORM_EPSILON = 1e-12
"""``layer_norm_eps`` of the same file."""

MASKED = -1e9
"""Added to the attention scores of padding: their softmax becomes 0 in float32."""

Weights = dict[str, NDArray[np.float32]]


def read_safetensors(path: Path) -> Weights:
    """Float tensors of a safetensors file by name, mapped from the file rather than read.

    Format: 8 bytes little-endian length, a JSON header, then the raw tensors
    (github.com/huggingface/safetensors, "Format").

    Raises
    ------
    InvalidInputError
        The file is not of that format.
    """
    try:
        with path.open("rb") as stream:
            (header_size,) = struct.unpack("<Q", stream.read(8))
            header: dict[str, Any] = json.loads(stream.read(header_size))
        data = np.memmap(path, np.uint8, "r", offset=8 + header_size)
        return {
            name: data[slice(*entry["data_offsets"])].view(np.float32).reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] == "F32"
        }
    except (
        struct.error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        MemoryError,
        OverflowError,
    ) as error:
        raise InvalidInputError("the weights file is not in safetensors format") from error


def build_graph(weights: Weights) -> onnx.ModelProto:
    """The checked fp32 graph: ``input_ids``, ``attention_mask`` (batch, seq) int64 → ``embedding`` (batch, 384)."""
    graph = _GraphBuilder(weights)
    hidden = graph.embeddings()
    for layer in range(LAYERS):
        hidden = graph.layer(layer, hidden)
    graph.pooling(hidden)
    model = graph.finish()
    onnx.checker.check_model(model)
    return model


class _GraphBuilder:
    """Nodes and constants in the making. Names of tensors double as handles."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        for name, values in {
            "from_0": [0],
            "axis_1": [1],
            "to_2": [2],
            "axes_1_2": [1, 2],
            "split_heads": [0, 0, HEADS, HIDDEN // HEADS],
            "join_heads": [0, 0, HIDDEN],
        }.items():
            self._constant(name, np.array(values, np.int64))
        for name, value in {"one": 1.0, "masked": MASKED, "scale": (HIDDEN // HEADS) ** -0.5}.items():
            self._constant(name, np.array(value, np.float32))

    def embeddings(self) -> str:
        """Word + position + segment embeddings, normalised; also makes the mask tensors the layers use."""
        prefix = "embeddings."
        words = self._constant("words", self._weights[f"{prefix}word_embeddings.weight"])
        # Every text is one segment, so the first segment's embedding folds into the positions.
        positions = self._constant(
            "positions",
            self._weights[f"{prefix}position_embeddings.weight"]
            + self._weights[f"{prefix}token_type_embeddings.weight"][0],
        )
        shape = self._op("Shape", "shape", "input_ids")
        length = self._op("Slice", "length", shape, "axis_1", "to_2", "from_0")
        used = self._op("Slice", "used_positions", positions, "from_0", length, "from_0")
        total = self._op("Add", "embedded", self._op("Gather", "embedded_words", words, "input_ids"), used)
        mask = self._op("Cast", "mask", "attention_mask", to=TensorProto.FLOAT)
        padding = self._op("Sub", "padding", "one", self._op("Unsqueeze", "mask_4d", mask, "axes_1_2"))
        self._op("Mul", "attention_bias", padding, "masked")
        return self._layer_norm(f"{prefix}LayerNorm", total, "hidden")

    def layer(self, number: int, hidden: str) -> str:
        """One transformer layer (Vaswani et al. 2017, section 3.1, post-norm as in BERT)."""
        prefix, out = f"encoder.layer.{number}.", f"layer{number}_"
        attended = self._attention(prefix, out, hidden)
        dense = self._linear(f"{prefix}attention.output.dense", attended, f"{out}attention_dense")
        residual = self._op("Add", f"{out}attention_residual", dense, hidden)
        hidden = self._layer_norm(f"{prefix}attention.output.LayerNorm", residual, f"{out}attention_norm")
        wide = self._linear(f"{prefix}intermediate.dense", hidden, f"{out}wide")
        active = self._op("Gelu", f"{out}gelu", wide)
        narrow = self._linear(f"{prefix}output.dense", active, f"{out}narrow")
        residual = self._op("Add", f"{out}residual", narrow, hidden)
        return self._layer_norm(f"{prefix}output.LayerNorm", residual, f"{out}norm")

    def pooling(self, hidden: str) -> None:
        """Mean over the tokens of each text, L2-normalised, as the output ``embedding``."""
        row_mask = self._op("Unsqueeze", "row_mask", "mask", "axis_1")
        total = self._op("Squeeze", "total", self._op("MatMul", "total_3d", row_mask, hidden), "axis_1")
        count = self._op("ReduceSum", "count", "mask", "axis_1", keepdims=1)
        mean = self._op("Div", "mean", total, count)
        norm = self._op("ReduceL2", "length_of_mean", mean, "axis_1", keepdims=1)
        self._op("Div", "embedding", mean, norm)

    def finish(self) -> onnx.ModelProto:
        """The model of all nodes so far."""
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])
        graph = helper.make_graph(self._nodes, "minilm", inputs, [output], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _attention(self, prefix: str, out: str, hidden: str) -> str:
        def heads(name: str, order: list[int]) -> str:
            projected = self._linear(f"{prefix}attention.self.{name}", hidden, out + name)
            split = self._op("Reshape", f"{out}{name}_split", projected, "split_heads")
            return self._op("Transpose", f"{out}{name}_heads", split, perm=order)

        query, key = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1])
        scaled = self._op("Mul", f"{out}scaled", query, "scale")
        scores = self._op("MatMul", f"{out}scores", scaled, key)
        biased = self._op("Add", f"{out}biased", scores, "attention_bias")
        shares = self._op("Softmax", f"{out}shares", biased, axis=-1)
        mixed = self._op("MatMul", f"{out}mixed", shares, heads("value", [0, 2, 1, 3]))
        back = self._op("Transpose", f"{out}mixed_back", mixed, perm=[0, 2, 1, 3])
        return self._op("Reshape", f"{out}joined", back, "join_heads")

    def _linear(self, weight: str, value: str, out: str) -> str:
        matrix = self._constant(f"{weight}.weight.T", self._weights[f"{weight}.weight"].T)
        bias = self._constant(f"{weight}.bias", self._weights[f"{weight}.bias"])
        return self._op("Add", out, self._op("MatMul", f"{out}_product", value, matrix), bias)

    def _layer_norm(self, weight: str, value: str, out: str) -> str:
        scale = self._constant(f"{weight}.weight", self._weights[f"{weight}.weight"])
        bias = self._constant(f"{weight}.bias", self._weights[f"{weight}.bias"])
        return self._op("LayerNormalization", out, value, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _op(self, kind: str, out: str, *inputs: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out
