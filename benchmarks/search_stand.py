"""What search is measured in: a discovery as a process of its own on one core, everything else on the others.

Used by ``search.py``. Postgres, Redis and the load share the cores that discovery does not have; with a single core they
share that one, and figures say little.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import aiohttp
import load
import psutil
import search_catalogue
from bare_server import KEY
from pydantic import SecretStr
from redis.asyncio import Redis

from media_gateway.core.adapters.embedded.postgres import EmbeddedPostgres
from media_gateway.core.adapters.embedded.redis import EmbeddedRedis
from media_gateway.core.adapters.minilm.background import build_in_subprocess
from media_gateway.core.domain.content import SourceRecord
from media_gateway.core.migrations import migrate
from media_gateway.core.settings import CoreSettings, load_settings

START_LIMIT_S = 120.0
LOADED = "bench-loaded"
"""File in a state folder that holds the number of the films that were loaded into it."""


@dataclass(frozen=True)
class Service:
    """A server under load."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor time it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@dataclass(frozen=True)
class Stand:
    """Everything that runs.

    Attributes
    ----------
    discovery, bare : Service
        What is measured, and the floor beside it.
    """

    settings: CoreSettings
    discovery: Service
    bare: Service
    pool: ProcessPoolExecutor

    async def load(self, plan: load.Plan) -> load.Outcome:
        """Put load on a service."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, load.run, plan)

    async def keep(self, body: bytes) -> None:
        """Give the floor the answer it is to send."""
        redis = Redis.from_url(self.settings.redis_url.get_secret_value())
        await redis.set(KEY, body)
        await redis.aclose()


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Start processes on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def prepare(state_path: Path, records: Sequence[SourceRecord]) -> None:
    """Load the records into a state folder, unless they are in it."""
    loaded = state_path / LOADED
    if loaded.exists() and int(loaded.read_text()) == len(records):
        return
    if state_path.exists() and any(state_path.iterdir()):
        raise SystemExit(f"{state_path} holds something else; name an empty folder")
    asyncio.run(_load(state_path, records))
    loaded.write_text(str(len(records)))


async def _load(state_path: Path, records: Sequence[SourceRecord]) -> None:
    usual = load_settings(CoreSettings)
    await build_in_subprocess(usual.models_path)
    async with _servers(state_path) as settings:
        await migrate(settings.database_url.get_secret_value())
        await search_catalogue.load(settings, records, usual.state_path / "cache" / "bench-vectors.npz")


@asynccontextmanager
async def _servers(state_path: Path) -> AsyncIterator[CoreSettings]:
    async with EmbeddedPostgres(state_path) as database_url, EmbeddedRedis(state_path) as redis_url:
        yield CoreSettings(
            state_dir=state_path,
            model_dir=load_settings(CoreSettings).models_path,
            database_url=SecretStr(database_url),
            redis_url=SecretStr(redis_url),
        )


@asynccontextmanager
async def standing(state_path: Path) -> AsyncIterator[Stand]:
    """Servers on a prepared state folder, a discovery that has indexed what is in it, and the floors."""
    cores = os.sched_getaffinity(0)
    first, *others = sorted(cores)
    with pinned(set(others) or {first}), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        async with _servers(state_path) as settings:
            with pinned({first}):
                bare, discovery = _start_bare(settings), _start_discovery(settings)
            try:
                assert bare.stdout is not None
                port = int(await asyncio.to_thread(bare.stdout.readline))
                url = await _ready(discovery, state_path)
                yield Stand(
                    settings,
                    Service(url, psutil.Process(discovery.pid)),
                    Service(f"http://127.0.0.1:{port}", psutil.Process(bare.pid)),
                    pool,
                )
            finally:
                for process in (bare, discovery):
                    process.send_signal(signal.SIGTERM)
                    process.wait(60)


def _start_bare(settings: CoreSettings) -> subprocess.Popen[str]:
    script = str(Path(__file__).with_name("bare_server.py"))
    redis_url = settings.redis_url.get_secret_value()
    command = [sys.executable, script, redis_url, str(settings.models_path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _start_discovery(settings: CoreSettings) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MEDIA_GATEWAY_STATE_DIR": str(settings.state_path),
        "MEDIA_GATEWAY_MODEL_DIR": str(settings.models_path),
        "MEDIA_GATEWAY_METRICS_PORT": "0",
    }
    command = [sys.executable, "-m", "media_gateway.cli", "serve", "discovery", "--port", str(_free_port())]
    # Its log is written, as in real life, but not kept for longer than this.
    with (settings.state_path / "discovery.log").open("wb") as log:
        return subprocess.Popen(command, stderr=log, env=environment)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _ready(discovery: subprocess.Popen[bytes], state_path: Path) -> str:
    """Its address, once it has indexed everything and seen the model."""
    arguments = discovery.args
    assert isinstance(arguments, list)
    url = f"http://127.0.0.1:{arguments[-1]}"
    attempt = 0
    async with asyncio.timeout(START_LIMIT_S), aiohttp.ClientSession() as session:
        while True:
            if discovery.poll() is not None:
                raise SystemExit(f"discovery ended; see {state_path / 'discovery.log'}")
            try:
                async with session.get(f"{url}/health/ready") as ready:
                    is_ready = ready.status == 200
                async with session.post(
                    f"{url}/api/v1/search", json={"query": f"anybody {attempt}"}
                ) as answer:
                    # What is cached of it may be degraded for a minute.
                    attempt += 1
                    if is_ready and not (await answer.json()).get("degraded", True):
                        return url
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
