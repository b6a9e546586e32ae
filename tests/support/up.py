"""A real `media-gateway up` in a test: started, waited for, never left behind."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import REPOSITORY
from tests.support.servers import unused_port

PORTS = (8080, 8081, 8084, 8085, 9090, 9091, 9092, 9093, 9094)
"""Everything that `up` listens on, before its offset."""

QUIET = {"MEDIA_GATEWAY_EMBEDDER_URL": "openai+http://127.0.0.1:9/v1?model=none&dimension=384"}
"""No model is built where a test is not about it: that takes a processor for seconds."""


@dataclass(slots=True)
class Up:
    """A running `up`; ``ready`` is what it wrote when the first search would be answered."""

    process: asyncio.subprocess.Process
    state_path: Path
    offset: int
    ready: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def url(self, component: str) -> str:
        return str(self.ready["urls"][component])

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def ended(self, timeout_s: float = 40.0) -> int:
        """Its exit status, once it has ended."""
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()


def free_offset() -> int:
    """A port offset with which every port of `up` is free."""
    while True:
        offset = unused_port() - PORTS[0]
        if offset >= 0 and all(_is_free(port + offset) for port in PORTS):
            return offset


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


@asynccontextmanager
async def started(
    state_path: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    program: tuple[str, ...] = (sys.executable,),
    offset: int | None = None,
) -> AsyncIterator[Up]:
    """Run `up`, without waiting for anything; killed at the end if it still runs."""
    offset = free_offset() if offset is None else offset
    process = await asyncio.create_subprocess_exec(
        *program, "-m", "media_gateway.cli", "up", "--state-dir", str(state_path),
        "--port-offset", str(offset), "--ready-file", str(state_path.with_name("ready.json")), *arguments,
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, **QUIET, **(environment or {})},
    )  # fmt: skip
    up = Up(process, state_path, offset)
    listening = asyncio.create_task(_listen(up))
    try:
        yield up
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


async def _listen(up: Up) -> None:
    assert up.process.stderr is not None
    async for line in up.process.stderr:
        up.said.append(line.decode().rstrip())


@asynccontextmanager
async def ready(
    state_path: Path, *arguments: str, timeout_s: float = 60.0, **options: Any
) -> AsyncIterator[Up]:
    """Run `up` until it is ready."""
    file = state_path.with_name("ready.json")
    file.unlink(missing_ok=True)
    async with started(state_path, *arguments, **options) as up:
        async with asyncio.timeout(timeout_s):
            while not file.exists():
                assert up.process.returncode is None, "\n".join(up.said)
                await asyncio.sleep(0.02)
        up.ready = json.loads(file.read_text())
        yield up
