"""all-MiniLM-L6-v2 in this process: built once from its published weights, run by onnxruntime without torch.

`MiniLMEmbedder` serves; `build` makes the model files (`media-gateway models build`, and ``up`` in the background).
Serving imports neither ``onnx`` nor the builder.
"""

from media_gateway.core.adapters.minilm.embedder import MiniLMEmbedder

__all__ = ["MiniLMEmbedder"]
