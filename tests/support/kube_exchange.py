"""What goes through the fault proxy, and which of it meets a fault. Used by `kube_proxy` and `kube_faults`."""

import asyncio
import random
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

LEASES: Final = "/leases"

Act = Callable[["Exchange"], Awaitable[web.StreamResponse]]
Lines = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


@dataclass(slots=True)
class Seen:
    """A request that came by.

    Attributes
    ----------
    at : float
        `time.monotonic` when it came.
    query : str
        As in the URL.
    manager : str
        Its ``fieldManager``.
    digest : str
        Of its body, empty without one.
    status : int
        What the server answered, or a fault in its place; 0 if there was no answer.
    fault : str
        Name of the fault that it met.
    forwarded : bool
        It was sent to the server.
    created : bool
        The server answered 201.
    uid, version : str
        Of the object in the server's answer.
    """

    number: int
    at: float
    verb: str
    path: str
    query: str
    manager: str
    agent: str
    watch: bool
    digest: str
    status: int = 0
    fault: str = ""
    forwarded: bool = False
    created: bool = False
    uid: str = ""
    version: str = ""

    @property
    def write(self) -> bool:
        return self.verb in WRITES

    @property
    def lease(self) -> bool:
        return LEASES in self.path


@dataclass(slots=True, kw_only=True)
class Rule:
    """Which exchanges meet a fault, and how often.

    Attributes
    ----------
    act : Act
        The fault.
    verbs : frozenset of str
        Empty for all.
    path : str
        Regular expression searched for in the path; leases are met only by one that names them.
    query : str
        The same for the query.
    watch : bool
        Meets watches; without it everything else.
    skip : int
        How many matching exchanges go by first.
    times : int, optional
        How many meet the fault; None for all that follow.
    share : float
        Chance that a matching exchange meets it.
    until : float
        `time.monotonic` after which it is over.
    """

    act: Act
    verbs: frozenset[str] = frozenset()
    path: str = ""
    query: str = ""
    watch: bool = False
    skip: int = 0
    times: int | None = None
    share: float = 1.0
    until: float = float("inf")
    hits: int = 0
    passed: int = 0

    def meets(self, seen: Seen, chance: random.Random) -> bool:
        """Whether this exchange meets the fault; counts it."""
        if not self._matches(seen) or self._over():
            return False
        if self.passed < self.skip:
            self.passed += 1
            return False
        if chance.random() >= self.share:
            return False
        self.hits += 1
        return True

    def _matches(self, seen: Seen) -> bool:
        return (
            seen.watch is self.watch
            and (not self.verbs or seen.verb in self.verbs)
            and (not seen.lease or LEASES in self.path)
            and re.search(self.path, seen.path) is not None
            and re.search(self.query, seen.query) is not None
        )

    def _over(self) -> bool:
        return time.monotonic() > self.until or (self.times is not None and self.hits >= self.times)


class Forwarding(Protocol):
    """The proxy, as an exchange knows it."""

    async def send(self, exchange: "Exchange") -> web.StreamResponse: ...

    async def watch(self, exchange: "Exchange", change: Lines | None) -> web.StreamResponse: ...


@dataclass(eq=False, slots=True)
class Exchange:
    """One request on its way, as a fault sees it."""

    proxy: Forwarding
    request: web.Request
    body: bytes
    seen: Seen

    async def forward(self, lines: Lines | None = None) -> web.StreamResponse:
        """Send it to the server and give the answer; of a watch, the stream of events, changed by `lines`."""
        return await (self.proxy.watch(self, lines) if self.seen.watch else self.proxy.send(self))

    def answer(
        self,
        code: int,
        reason: str,
        message: str = "a fault of the test",
        *,
        retry_after_s: int | None = None,
    ) -> web.Response:
        """A refusal in the server's words."""
        self.seen.status = code
        status: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": reason, "message": message, "code": code,
        }  # fmt: skip
        headers = {}
        if retry_after_s is not None:
            headers["Retry-After"] = str(retry_after_s)
            status["details"] = {"retryAfterSeconds": retry_after_s}
        return web.json_response(status, status=code, headers=headers)

    def cut(self) -> web.Response:
        """Reset the connection; the client gets no answer."""
        self.seen.status = 0
        reset(self.request.transport)
        return web.Response(status=502)


def reset(transport: asyncio.BaseTransport | None) -> None:
    """End a connection with RST, as a server does that is gone."""
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
