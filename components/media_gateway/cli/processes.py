"""``up --processes``: every component in a process of its own, restarted when it dies, ended with us."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from media_gateway.cli.console import EXIT_CONFIGURATION
from media_gateway.cli.probes import ask
from media_gateway.core.adapters.embedded.child import Child, Command
from media_gateway.core.errors import MediaGatewayError, NotConfiguredError, UnavailableError
from media_gateway.core.settings import PREFIX, CoreSettings

START_TIMEOUT_S = 60.0
CHECK_S = 0.1
RESTART_DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before restart 1, 2, …; the last one repeats."""

STEADY_S = 60.0
"""A run of this length counts as recovered."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a component listens."""

    name: str
    host: str
    port: int
    metrics_port: int

    @property
    def url(self) -> str:
        """Its address for callers on this machine."""
        return f"http://{loopback(self.host)}:{self.port}"


def loopback(host: str) -> str:
    """The host by which a listener is reached from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound


class ComponentProcess:
    """One component, kept running.

    Parameters
    ----------
    address
        Where it is to listen.
    settings
        Of the machine; its drain time bounds the stop.
    log_path
        Where its log lines go.
    addresses
        Variables by which it finds the other components, where the environment has none.
    """

    def __init__(
        self, address: Address, settings: CoreSettings, log_path: Path, addresses: Mapping[str, str]
    ) -> None:
        self.address = address
        self._log_path = log_path
        self._addresses = addresses
        self._drain_s = settings.drain_timeout_s + 5
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.identity.pid if self._child else None

    async def start(self) -> None:
        """Start it and return once it answers.

        Raises
        ------
        NotConfiguredError, UnavailableError
            It refuses its settings, or it does not come up; the message has the end of its log.
        """
        self._spawn()
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while not await self._answers():
            assert self._child is not None
            code = self._child.exit_code
            if code is not None or asyncio.get_running_loop().time() > deadline:
                await self.stop()
                kind = NotConfiguredError if code == EXIT_CONFIGURATION else UnavailableError
                raise kind(f"{self.address.name} did not start: {self._last_line()}")
            await asyncio.sleep(CHECK_S)
        self._watch = asyncio.create_task(self._keep_running(), name=f"keep {self.address.name} running")

    async def stop(self) -> None:
        """Drain and end it."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        if self._child is not None:
            await self._child.stop()

    def _spawn(self) -> None:
        own = {
            f"{PREFIX}SERVICE_HOST": self.address.host,
            f"{PREFIX}SERVICE_PORT": str(self.address.port),
            f"{PREFIX}METRICS_PORT": str(self.address.metrics_port),
        }
        command = (sys.executable, "-m", "media_gateway.cli", "serve", self.address.name)
        stop_signals = ((signal.SIGTERM, self._drain_s),)
        environment = {**self._addresses, **os.environ, **own}
        folder = Path("/")
        self._child = Child(
            Command(command, folder, self._log_path, stop_signals, environment=environment), account=None
        )

    async def _answers(self) -> bool:
        try:
            status, _ = await ask(f"{self.address.url}/health/live")
        except MediaGatewayError:
            return False
        return status == 200

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        failures, began = 0, loop.time()
        while True:
            await asyncio.sleep(CHECK_S)
            if self._child is None or self._child.exit_code is None:
                continue
            failures = 1 if loop.time() - began > STEADY_S else failures + 1
            delay_s = RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S)) - 1]
            log.error(
                "a component ended and is started again",
                component=self.address.name,
                exit_code=self._child.exit_code,
                in_ms=round(delay_s * 1000),
            )
            await asyncio.sleep(delay_s)
            began = loop.time()
            self._spawn()

    def _last_line(self) -> str:
        try:
            lines = self._log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else f"its log {self._log_path} is empty"
