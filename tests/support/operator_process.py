"""The operator as an ordinary process outside of the cluster, driven by tests and benchmarks.

Its own ports, its own Lease, settings as ``MEDIA_GATEWAY_OPERATOR_*`` variables; what it logs goes to a file.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from media_gateway_operator.kube.kinds import LEASE
from tests.support.kube_api import KubeApi
from tests.support.processes import REPOSITORY
from tests.support.servers import unused_port
from tests.support.waiting import eventually

SHORT_LEASE: Final = {"lease_duration_s": "3", "lease_renew_deadline_s": "2", "lease_retry_s": "0.3"}
"""A leader that is gone is followed in three seconds; on a busy machine one that is shorter runs out by itself."""

QUICK: Final = {"backoff_base_s": "0.1", "backoff_max_s": "1"}
"""A backoff that doesn't make tests wait."""


@dataclass(kw_only=True)
class OperatorProcess:
    """One operator; an asynchronous context manager that starts it, waits until it is ready, and leaves none behind.

    Attributes
    ----------
    kubeconfig : Path
        How it reaches the API server: that of a `FaultProxy`, mostly.
    folder : Path
        For its log.
    namespace : str
        Its own, where the Lease is; must exist.
    settings : Mapping
        Settings without their prefix: ``{"concurrency": "4"}``.
    python : str
        Interpreter; another one measures another environment.
    """

    kubeconfig: Path
    folder: Path
    namespace: str
    identity: str = "operator-0"
    settings: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    port: int = field(default_factory=unused_port)
    progress_port: int = field(default_factory=unused_port)
    _process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.identity}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, *, ready: bool = True) -> None:
        """Start it (again, over the same settings), and wait until it says that it is ready."""
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self.python, "-m", "media_gateway_operator",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=self._environment(),
            )  # fmt: skip
        if ready:
            await eventually(self._ready, timeout_s=60, interval_s=0.05)

    async def kill(self) -> None:
        """``kill -9``; nothing if it is gone."""
        if self.running:
            self.kill_now()
            await self.process.wait()

    def kill_now(self) -> None:
        """The same without waiting: for the very moment of a request."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    async def end(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return await self.exited(timeout_s)

    async def exited(self, timeout_s: float = 30.0) -> int:
        """Wait until it ends by itself, and give the exit status."""
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()

    async def leads(self, api: KubeApi) -> bool:
        """Whether the Lease names it."""
        lease = await api.get(LEASE, self.namespace, "media-gateway-operator")
        holder = lease["spec"].get("holderIdentity", "") if lease else ""
        return bool(holder.startswith(self.identity))

    async def status_of(self, path: str) -> int:
        """Status code of ``/readyz`` or ``/healthz``; 0 while nobody listens."""
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            timeout = aiohttp.ClientTimeout(total=5)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status
        return 0

    async def metrics(self) -> dict[str, float]:
        """Its samples, summed over their labels but for those in ``name{a=b}`` form."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
        ):
            text = await answer.text()
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
                if sample.labels:
                    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                    found[f"{sample.name}{{{labels}}}"] = sample.value
        return found

    def resident_mb(self) -> float:
        """Resident memory in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def cpu_s(self) -> float:
        """Processor time spent so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def sockets(self) -> int:
        """How many it has open."""
        return len(psutil.Process(self.process.pid).net_connections())

    def log(self) -> str:
        """What it logged."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def complaints(self) -> list[str]:
        """Lines of its log that tell of an error nobody foresaw."""
        return [
            line for line in self.log().splitlines() if re.search(r"Traceback|Task exception|Unhandled", line)
        ]

    async def _ready(self) -> bool:
        if not self.running:
            end = self.log()[-3000:]
            raise RuntimeError(f"the operator ended with status {self.process.returncode}: {end}")
        return await self.status_of("/readyz") == 200

    def _environment(self) -> dict[str, str]:
        own = {
            "namespace": self.namespace,
            "identity": self.identity,
            "host": "127.0.0.1",
            "advertised_address": f"127.0.0.1:{self.progress_port}",
            "port": str(self.port),
            "progress_port": str(self.progress_port),
            **self.settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_GATEWAY_")}
        return {
            **kept,
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / root) for root in ("components", "operator")),
            **{f"MEDIA_GATEWAY_OPERATOR_{name.upper()}": value for name, value in own.items()},
        }


@asynccontextmanager
async def kept_running(operator: OperatorProcess) -> AsyncIterator[None]:
    """Start an operator again whenever it ends, as the kubelet would, until the block ends."""

    async def keep() -> None:
        while True:
            await operator.process.wait()
            await operator.start(ready=False)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
