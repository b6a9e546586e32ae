"""Real processes of ours in tests: started with a line of JSON as their sign of life, never left behind."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).parents[2]


@dataclass(slots=True)
class Spoken:
    """A process and what it said first."""

    process: asyncio.subprocess.Process
    said: dict[str, Any]

    async def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        await self.process.wait()

    async def end(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()


@asynccontextmanager
async def spoken(*arguments: str, environment: dict[str, str] | None = None) -> AsyncIterator[Spoken]:
    """Run a program until its first line on standard output, which is JSON; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        assert line, f"the program ended with status {await process.wait()} before it said anything"
        yield Spoken(process, json.loads(line))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def module(name: str, *arguments: str) -> Sequence[str]:
    """Command line of a module of this tree."""
    return (sys.executable, "-m", name, *arguments)


def servers_below(folder: Path) -> list[int]:
    """Pids of live processes whose working folder lies in a folder: the private servers of a state folder."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        with suppress(psutil.Error, OSError):
            if process.info["status"] != psutil.STATUS_ZOMBIE and folder in Path(process.cwd()).parents:
                found.append(process.pid)
    return found
