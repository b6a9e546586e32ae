"""Load on an HTTP server over keep-alive connections, and how long its answers took; used by benchmarks, no script of its own.

Plain sockets and `select`, since it must cost far less than what it measures (some 30 microseconds a request) and be
punctual: `select` waits for microseconds, where `epoll`, and with it every event loop, waits for milliseconds. Call `run`
in a process of its own.
"""

import gc
import random
import re
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CACHE: Final = re.compile(rb"x-cache: *(\w+)", re.IGNORECASE)
RECEIVED_AT_ONCE: Final = 1 << 18
SILENCE_S: Final = 10.0
"""No answer for so long ends a run with an error."""


@dataclass(frozen=True)
class Plan:
    """What is sent.

    Attributes
    ----------
    requests : sequence of bytes
        Whole requests, see `get` and `post`. With ``repeat`` they are sent again and again, else each once: then a run
        may end before its time.
    rate : float | None
        Requests a second, arriving at random (Poisson) whether or not earlier ones are answered; None sends the next one
        on each connection as soon as the last one is answered.
    """

    url: str
    requests: Sequence[bytes]
    connections: int
    seconds: float
    rate: float | None = None
    repeat: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came back; latencies in milliseconds, from the moment a request was planned to the last byte of its answer."""

    latencies_ms: list[float]
    seconds: float
    statuses: dict[str, int]
    cached: dict[str, int]

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A POST request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection:
    """One connection with at most one request under way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.planned_s = 0.0
        self._received = b""
        self._missing = 0
        self.head = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, request: bytes, planned_s: float) -> None:
        self.planned_s = planned_s
        self._received, self.head = b"", b""
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Take what has come; tells whether that was the last of the answer."""
        data = self.socket.recv(RECEIVED_AT_ONCE)
        if not data:
            raise ConnectionError("the server closed the connection")
        if self.head:
            self._missing -= len(data)
            return self._missing <= 0
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        found = _LENGTH.search(head)
        if found is None:
            raise ValueError(f"an answer without a length: {head!r}")
        self.head, self._missing = head, int(found[1]) - len(body)
        return self._missing <= 0


def run(plan: Plan) -> Outcome:
    """Send what is planned.

    Raises
    ------
    ConnectionError, TimeoutError
        The server closed a connection, or was silent.
    """
    target = urlsplit(plan.url)
    connections = [_Connection(target.hostname or "", target.port or 80) for _ in range(plan.connections)]
    gc.collect()
    gc.disable()
    try:
        return _Run(plan, connections).result()
    finally:
        gc.enable()
        for connection in connections:
            connection.socket.close()


class _Run:
    def __init__(self, plan: Plan, connections: Sequence[_Connection]) -> None:
        self._plan = plan
        self._idle = deque(connections)
        self._busy: dict[_Connection, None] = {}
        self._random = random.Random(plan.seed)
        self._next = 0
        self._began_s = time.perf_counter()
        self._due_s = self._began_s
        self._latencies_ms: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._cached: Counter[str] = Counter()

    def result(self) -> Outcome:
        plan = self._plan
        while True:
            self._send()
            if not self._busy and self._is_over():
                break
            ready, _, _ = select.select(list(self._busy), [], [], self._patience_s())
            if not ready and time.perf_counter() - self._due_s > SILENCE_S:
                raise TimeoutError(f"{plan.url} is silent")
            for connection in ready:
                if connection.is_answered():
                    self._note(connection)
        took_s = time.perf_counter() - self._began_s
        return Outcome(self._latencies_ms, took_s, dict(self._statuses), dict(self._cached))

    def _is_over(self) -> bool:
        sent_all = not self._plan.repeat and self._next >= len(self._plan.requests)
        begins_s = self._due_s if self._plan.rate else time.perf_counter()
        return sent_all or begins_s - self._began_s >= self._plan.seconds

    def _patience_s(self) -> float:
        if self._plan.rate and self._idle and not self._is_over():
            return max(0.0, self._due_s - time.perf_counter())
        return SILENCE_S

    def _send(self) -> None:
        plan = self._plan
        while self._idle and not self._is_over():
            now_s = time.perf_counter()
            if plan.rate and self._due_s > now_s:
                return
            connection = self._idle.popleft()
            connection.send(
                plan.requests[self._next % len(plan.requests)], self._due_s if plan.rate else now_s
            )
            self._busy[connection] = None
            self._next += 1
            self._due_s = self._due_s + self._random.expovariate(plan.rate) if plan.rate else now_s

    def _note(self, connection: _Connection) -> None:
        self._latencies_ms.append((time.perf_counter() - connection.planned_s) * 1000)
        self._statuses[connection.head[9:12].decode()] += 1
        if found := _CACHE.search(connection.head):
            self._cached[found[1].decode()] += 1
        del self._busy[connection]
        self._idle.append(connection)
