"""A server process that never outlives us, and the means to find one that a killed predecessor left behind.

`EmbeddedServer` uses it. It signals only processes whose identity it has checked.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from media_gateway.core.adapters.embedded.account import Account

LAUNCHER = Path(__file__).with_name("launch.py")

START_TIME_TOLERANCE_S = 2.0
"""A start time is derived from the boot time, which moves a little when the clock is corrected."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Enough to know a process again: a pid alone may belong to somebody else by now."""

    pid: int
    started_s: float
    """Unix time of the start, in seconds."""

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process that has this pid now, or None."""
        with suppress(psutil.Error):
            return cls(pid, psutil.Process(pid).create_time())
        return None

    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started_s) > START_TIME_TOLERANCE_S:
                return None
            if process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True, slots=True)
class Command:
    """How to run a server.

    Attributes
    ----------
    arguments : Sequence[str]
        The binary's absolute path, then its arguments.
    folder : Path
        Working folder. It is entered before root is given up, so it may lie below folders the account can't enter.
    log : Path
        Where standard output and error are appended.
    stop_signals : Sequence[tuple[signal.Signals, float]]
        Signals to stop it with, each with the seconds to wait for it; SIGKILL follows. The first is also sent by the
        kernel when we die.
    stdin : bytes
        Fed to the server at its start (a configuration with a password is kept out of its command line).
    environment : Mapping[str, str]
        Its whole environment.
    """

    arguments: Sequence[str]
    folder: Path
    log: Path
    stop_signals: Sequence[tuple[signal.Signals, float]]
    stdin: bytes = b""
    environment: Mapping[str, str] | None = None


class Child:
    """A running server process.

    Start it from a thread that lives as long as the server should: on Linux the kernel ties the child to the thread.

    Parameters
    ----------
    command
        What to run.
    account
        Unprivileged account to run it under, None for our own.
    use_watcher
        Tie the child to us by a small shell that waits for our end; the default where the kernel has no parent-death
        signal.
    """

    def __init__(
        self, command: Command, account: Account | None, *, use_watcher: bool = sys.platform != "linux"
    ) -> None:
        self._stop_signals = command.stop_signals
        self._process = _spawn(command, account)
        self._watcher = _watch(self._process.pid, command.stop_signals[0][0]) if use_watcher else None

    @property
    def identity(self) -> Identity:
        """Pid and start time."""
        return Identity.of(self._process.pid) or Identity(self._process.pid, time.time())

    @property
    def exit_code(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    async def stop(self) -> None:
        """Stop it, politely first."""
        for number, patience_s in (*self._stop_signals, (signal.SIGKILL, 10.0)):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            await _until(lambda: self._process.poll() is not None, patience_s)
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()


def _spawn(command: Command, account: Account | None) -> subprocess.Popen[bytes]:
    ids = (str(account.uid), str(account.gid)) if account else ("-", "-")
    tie = (str(os.getpid()), str(int(command.stop_signals[0][0])), *ids)
    with _open_log(command.log) as log:
        process = subprocess.Popen(  # noqa: S603 - our own launcher and a binary of an installed package
            [sys.executable, "-I", "-S", str(LAUNCHER), *tie, *command.arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=command.folder,
            env=dict(command.environment or {}),
            # A Ctrl-C at the terminal goes to the whole process group; the server must outlive our drain.
            start_new_session=True,
        )
    assert process.stdin is not None
    # The pipe holds at least 4 KiB, so this never waits; a server that is gone already shows by its exit status.
    with suppress(BrokenPipeError):
        process.stdin.write(command.stdin)
        process.stdin.close()
    return process


def _open_log(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def _watch(pid: int, number: signal.Signals) -> subprocess.Popen[bytes]:
    """A shell that signals the server when the pipe from us closes, which it does however we end."""
    script = 'read -r line; kill -"$1" "$2"'
    return subprocess.Popen(  # noqa: S603 - a fixed script, the numbers are arguments
        ["/bin/sh", "-c", script, "sh", str(int(number)), str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def end_leftover(process: psutil.Process, stop_signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """Stop a server that outlived its owner. The caller has verified whose it is."""
    for number, patience_s in (*stop_signals, (signal.SIGKILL, 10.0)):
        with suppress(psutil.NoSuchProcess):
            # psutil compares the start time first, so a reused pid is never signalled.
            process.send_signal(number)
        if await _until(lambda: not _alive(process), patience_s):
            return


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def _until(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
