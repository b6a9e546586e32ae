"""What the two private servers have in common: own or join, start, keep running, recover.

Of all processes that use one state folder, the one that holds the owner lock runs the server; the others join it at
the same address. When the owner ends, however it ends, its server ends with it, and one of those that had joined takes
the lock and starts the server again at the same address over the same data.
"""

import asyncio
import socket
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import psutil
import structlog

from media_gateway.core.adapters.embedded.account import Account, server_account
from media_gateway.core.adapters.embedded.child import Child, Command, Identity, end_leftover
from media_gateway.core.adapters.embedded.state import OwnerLock, StateFolder, read_json, write_private
from media_gateway.core.errors import UnavailableError

log = structlog.get_logger(__name__)

START_TIMEOUT_S: Final = 120.0
"""Longest wait for a start: a recovery after a crash replays at most the configured 256 MB of log."""

START_ATTEMPTS: Final = 3
"""The port may be taken between our look and the server's, and a killed server's workers may hold its shared memory for
a moment."""

WATCH_INTERVAL_S: Final = 0.25

RESTART_DELAYS_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Waits before restart 1, 2, …; the last one repeats."""


class EmbeddedServer(ABC):
    """An async context manager that gives the URL of a private server.

    Parameters
    ----------
    state_path
        The state folder.
    durable
        False lets the server answer before data are on disk; for tests only.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    executables: ClassVar[tuple[str, ...]]
    """Names a process of this server may have; part of the check before a leftover is stopped."""

    def __init__(self, state_path: Path, *, durable: bool = True) -> None:
        self.state = StateFolder(state_path)
        self.durable = durable
        self.account: Account | None = None
        self.port = 0
        self._lock = OwnerLock(self.state.run_file(f"{self.name}.lock"))
        self._endpoint = self.state.run_file(f"{self.name}.json")
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with the password."""

    @property
    def folder(self) -> Path:
        """The server's own folder; with root's help it belongs to the server's account."""
        return self.state.path / self.name

    @property
    def owned(self) -> bool:
        """Whether this process runs the server (False: another one does)."""
        return self._lock.held

    @property
    def pid(self) -> int | None:
        """Process id of the server, if this process runs it."""
        return self._child.identity.pid if self._child else None

    async def __aenter__(self) -> str:
        await self.start()
        self._watch = asyncio.create_task(self._keep_running(), name=f"embedded {self.name}")
        return self.url

    async def __aexit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self.stop()

    async def start(self) -> str:
        """Start or join the server; returns its URL once it answers.

        Raises
        ------
        NotConfiguredError
            A binary or an account is missing, or the data are of another version.
        UnavailableError
            It did not start; the message has the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._lock.try_acquire():
                await self._start_owned()
                return self.url
            if self._join():
                log.debug("joined a running server", server=self.name, port=self.port)
                return self.url
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"another process holds {self.title} of {self.state.path} and it does not become ready"
                )
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop the server if this process runs it, and leave the ownership."""
        try:
            await self._stop_child()
        finally:
            self._lock.release()

    async def _start_owned(self) -> None:
        try:
            self.account = server_account(self.folder)
            previous = read_json(self._endpoint) or {}
            await self._end_leftovers(previous)
            for attempt in range(1, START_ATTEMPTS + 1):
                self.port = free_port(_as_port(previous.get("port")))
                try:
                    await self._run()
                    break
                except UnavailableError:
                    await self._stop_child()
                    if attempt == START_ATTEMPTS:
                        raise
                    await asyncio.sleep(1)
        except BaseException:
            await self.stop()
            raise

    async def _run(self) -> None:
        """One start at ``self.port``: prepare, spawn, wait until ready, publish the endpoint."""
        began = time.monotonic()
        await self.prepare()
        self._child = Child(self.command(), self.account)
        identity = self._child.identity
        self._publish(identity)
        while not await self.is_ready():
            if self._child.exit_code is not None:
                raise UnavailableError(self._explain_failure())
            if time.monotonic() - began > START_TIMEOUT_S:
                raise UnavailableError(f"{self.title} does not become ready; its log: {self._log_path}")
            await asyncio.sleep(0.01)
        self._publish(identity, ready=True)
        took_ms = round((time.monotonic() - began) * 1000)
        log.debug(
            "embedded server is ready", server=self.name, port=self.port, pid=identity.pid, took_ms=took_ms
        )

    async def _stop_child(self) -> None:
        if self._child is not None:
            await self._child.stop()
            self._child = None

    def _publish(self, identity: Identity, *, ready: bool = False) -> None:
        write_private(
            self._endpoint,
            f'{{"port": {self.port}, "pid": {identity.pid}, "started_s": {identity.started_s!r}, '
            f'"ready": {str(ready).lower()}}}\n',
        )

    def _join(self) -> bool:
        endpoint = read_json(self._endpoint) or {}
        if not endpoint.get("ready") or self._recorded(endpoint) is None:
            return False
        self.port = _as_port(endpoint.get("port"))
        return True

    async def _keep_running(self) -> None:
        """Restart the server when it dies; take it over when its owner does."""
        failures = 0
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            if self.owned and self._child is not None and self._child.exit_code is None:
                continue
            if not self.owned and not self._lock.try_acquire():
                continue
            await asyncio.sleep(RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 1)])
            try:
                await self._restart()
                failures = 0
            except Exception as error:  # noqa: BLE001 - supervised: whatever stopped the restart is tried again
                failures += 1
                log.warning("embedded server can't be restarted", server=self.name, error=str(error))

    async def _restart(self) -> None:
        """Start again at the same port, since clients hold the URL."""
        exit_code = self._child.exit_code if self._child else None
        log.warning("embedded server is gone, starting it again", server=self.name, exit_code=exit_code)
        await self._stop_child()
        self.account = server_account(self.folder)
        await self._end_leftovers(read_json(self._endpoint) or {})
        await self._run()

    async def _end_leftovers(self, endpoint: dict[str, object]) -> None:
        for process in filter(None, (self._recorded(endpoint), self.leftover())):
            log.warning("stopping a server that its owner left behind", server=self.name, pid=process.pid)
            await end_leftover(process, self.command().stop_signals)

    def _recorded(self, endpoint: dict[str, object]) -> psutil.Process | None:
        pid, started_s = endpoint.get("pid"), endpoint.get("started_s")
        if not isinstance(pid, int) or not isinstance(started_s, int | float):
            return None
        process = Identity(pid, float(started_s)).process()
        return process if process is not None and self.is_ours(process) else None

    def is_ours(self, process: psutil.Process) -> bool:
        """Whether a process is a server of this kind."""
        with suppress(psutil.Error):
            return process.name() in self.executables
        return False

    def leftover(self) -> psutil.Process | None:
        """A live server of an earlier run that the endpoint file does not know of."""
        return None

    @property
    def _log_path(self) -> Path:
        return self.state.log_file(self.name)

    def _explain_failure(self) -> str:
        lines = self._log_path.read_text(errors="replace").splitlines()[-4:]
        return (
            f"{self.title} did not start: {' | '.join(line.strip() for line in lines) or 'its log is empty'}"
        )

    @abstractmethod
    async def prepare(self) -> None:
        """Make the data folder ready for a start."""

    @abstractmethod
    def command(self) -> Command:
        """How to run it at ``self.port``."""

    @abstractmethod
    async def is_ready(self) -> bool:
        """Whether it takes commands."""


def free_port(preferred: int = 0) -> int:
    """A loopback port nobody listens on: the preferred one if possible."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnavailableError("no free loopback port")


def _as_port(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 65_536 else 0
