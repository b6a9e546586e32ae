"""all-MiniLM-L6-v2 in this process: built once from its published weights, run by onnxruntime without torch.

`MiniLMEmbedder` serves; `build` makes the model files (`media-gateway models build`, and ``up`` in the background).
Serving imports neither ``onnx`` nor the builder.
"""

import os

# onnxruntime's wheels report usage to their maker from the moment the library is loaded; only this variable, set before
# that, prevents it (``disable_telemetry_events()`` comes too late: device id and storage are made by then).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from media_gateway.core.adapters.minilm.embedder import MiniLMEmbedder

__all__ = ["MiniLMEmbedder"]
