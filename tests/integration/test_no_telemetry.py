"""Claim: nothing on this platform reports to anybody. onnxruntime's wheels would, if they were let."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from pathlib import Path
from media_gateway.core.adapters.minilm.model import MiniLM
from media_gateway.core.adapters.minilm.artifacts import MODEL_FILE, TOKENIZER_FILE

folder = next(Path(sys.argv[1]).glob(f"*/{MODEL_FILE}")).parent
MiniLM(folder / MODEL_FILE, folder / TOKENIZER_FILE)
"""


@pytest.mark.models
def test_loading_the_model_leaves_no_device_id_behind(models_path: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | {
        "HOME": str(tmp_path)
    }
    command = [sys.executable, "-c", PROGRAM, str(models_path)]
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
