"""npm's openid-client in a process of its own: installed once per machine, driven by lines of JSON."""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILES = ("package.json", "session.mjs")

CALL_TIMEOUT_S = 60.0


def installed() -> Path:
    """Folder with the packages, beside the caches of other tests; made if it is not there yet.

    Raises
    ------
    RuntimeError
        There is no Node, or npm could not install them; the message says what to do.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        raise RuntimeError(
            "Node 20 and npm are needed to test with openid-client (Debian: apt-get install nodejs npm)"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "media-gateway-tests"
    name = sha256(b"".join((HERE / file).read_bytes() for file in FILES)).hexdigest()[:16]
    folder = cache / f"openid-client-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            for file in FILES:
                shutil.copy(HERE / file, folder)
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=100, check=False
            )
            if done.returncode != 0:
                raise RuntimeError(
                    f"npm could not install openid-client in {folder}:\n{done.stderr[-2_000:]}"
                )
            (folder / "done").touch()
    return folder


@dataclass(slots=True)
class Refused:
    """What the client made of an error: its name in OAuth, or the client's own code."""

    error: str
    message: str


class OpenIdClient:
    """The process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, name: str, **options: Any) -> Any:
        """A function of the script; gives what it gave, or `Refused`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": name, **options}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), CALL_TIMEOUT_S)
        assert line, "openid-client's process has ended"
        answer = json.loads(line)
        return answer.get("ok") if "error" not in answer else Refused(**answer)

    async def good(self, name: str, **options: Any) -> Any:
        """As `call`, where no error is expected."""
        answer = await self.call(name, **options)
        assert not isinstance(answer, Refused), answer
        return answer


@asynccontextmanager
async def openid_client(
    issuer: str, client_id: str, secret: str | None = None
) -> AsyncIterator[OpenIdClient]:
    """A client that has read the issuer's metadata."""
    folder = await asyncio.to_thread(installed)
    process = await asyncio.create_subprocess_exec(
        "node", "session.mjs", cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        client = OpenIdClient(process)
        options = {} if secret is None else {"secret": secret}
        metadata = await client.good("discover", issuer=issuer, clientId=client_id, **options)
        assert metadata["issuer"] == issuer
        yield client
    finally:
        process.kill()
        await process.wait()
