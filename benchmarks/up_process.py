"""A real `media-gateway up` for the benchmarks of starting and memory: own state folder, own ports, ended at the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

PORTS = (8081, 8085, 9090, 9091, 9092)
START_TIMEOUT_S = 900.0
ENDS = ("made ", "up to date ")


@dataclass
class Up:
    """A running `up`; ``ready_s`` is the time from the start of the process to its ready file, in seconds."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    ready_s: float
    said: list[str] = field(default_factory=list)

    def wait_for_vectors(self) -> None:
        """Return once every film has its vector."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not any(
            line.startswith("Vectors:") and line.split("(")[0].endswith(ENDS) for line in self.said
        ):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit("the vectors were never made:\n" + "\n".join(self.said))
            time.sleep(0.1)


@contextmanager
def started(state_path: Path, *arguments: str) -> Iterator[Up]:
    """Run `up` on a state folder and wait until the first search would be answered."""
    ready_file = state_path.with_name(f"{state_path.name}-ready.json")
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "media_gateway.cli", "up", "--state-dir", str(state_path)]
    command += ["--port-offset", str(free_offset()), "--ready-file", str(ready_file), *arguments]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    up = Up(process, {}, 0.0)
    reader = Thread(target=_read, args=(up,), daemon=True)
    reader.start()
    try:
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
                raise SystemExit("`up` did not become ready:\n" + "\n".join(up.said))
            time.sleep(0.01)
        up.ready_s = time.monotonic() - began
        up.ready = json.loads(ready_file.read_text())
        yield up
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        reader.join()
        ready_file.unlink(missing_ok=True)


def _read(up: Up) -> None:
    assert up.process.stderr is not None
    for line in up.process.stderr:
        up.said.append(line.rstrip())


def free_offset() -> int:
    """A port offset with which every port of `up` is free."""
    for offset in range(1_000 + os.getpid() % 20_000, 50_000, 11):
        if all(_is_free(port + offset) for port in PORTS):
            return offset
    raise SystemExit("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
