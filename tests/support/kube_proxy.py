"""A proxy between an operator and its API server that remembers every request and makes faults on demand.

Plain HTTP on loopback towards the operator, the kubeconfig's own credentials towards the server. What a fault does is a
function of the exchange (`kube_faults` has the usual ones); which exchanges it meets is a `Rule`.
"""

import asyncio
import hashlib
import json
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tests.support.kube_api import Upstream, lines_of
from tests.support.kube_exchange import Exchange, Lines, Rule, Seen, reset

_HOP_BY_HOP: Final = frozenset({
    "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "host", "keep-alive",
    "transfer-encoding",
})  # fmt: skip


@dataclass(eq=False, slots=True)
class OpenWatch:
    """A watch that goes through the proxy."""

    path: str
    transport: asyncio.Transport | None
    silent: bool = False
    delivered: int = 0


class FaultProxy:
    """The proxy; an asynchronous context manager. Everything is controlled from the test that runs it.

    Parameters
    ----------
    upstream
        Server to forward to.
    port
        Where to listen; 0 for any free port.

    Attributes
    ----------
    rules : list of Rule
        Asked in order; the first that meets an exchange decides.
    seen : list of Seen
        Every request, in the order of arrival.
    """

    def __init__(self, upstream: Upstream, port: int = 0) -> None:
        self.rules: list[Rule] = []
        self.seen: list[Seen] = []
        self.port = port
        self._upstream = upstream
        self._tokens: list[str] = []
        self._watches: set[OpenWatch] = set()
        self._under_way: set[asyncio.Task[web.StreamResponse]] = set()
        self._chance = random.Random(0)  # the same faults in every run
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._session = self._upstream.session(timeout_s=None)
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        assert self._session is not None
        await self._session.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def watches(self) -> frozenset[OpenWatch]:
        """Watches that are open now."""
        return frozenset(self._watches)

    def writes(self, since: int = 0) -> list[Seen]:
        """Writes from the given request on, those of leases left out."""
        return [one for one in self.seen[since:] if one.write and not one.lease]

    def inject(self, rule: Rule) -> Rule:
        """Add a rule, and give it."""
        self.rules.append(rule)
        return rule

    def kubeconfig(self, folder: Path, *, token_file: Path | None = None) -> Path:
        """Write a kubeconfig that leads here, and from now on demand the token in that file, if one is given."""
        user = {}
        if token_file is not None:
            self.rotate(token_file)
            user = {"tokenFile": str(token_file)}
        path = folder / f"proxy-{self.port}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "operator", "user": user}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
            "current-context": "proxy",
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def rotate(self, token_file: Path) -> None:
        """Write a new token to a file and refuse every older one."""
        self._tokens = [secrets.token_hex(16)]
        token_file.write_text(self._tokens[0], encoding="utf-8")

    def drop_watches(self, path: str = "") -> int:
        """Reset the open watches whose path matches; gives how many."""
        chosen = [one for one in self._watches if re.search(path, one.path)]
        for one in chosen:
            reset(one.transport)
        return len(chosen)

    def silence_watches(self, path: str = "") -> int:
        """Deliver nothing more on the open watches whose path matches, and keep them open; gives how many."""
        chosen = [one for one in self._watches if re.search(path, one.path)]
        for one in chosen:
            one.silent = True
        return len(chosen)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Refuse connections and cut those there are, until the block ends."""
        await self._stop_listening()
        try:
            yield
        finally:
            await self._listen()

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Forward a request that is no watch, to its end even if the client goes away meanwhile."""
        seen = exchange.seen
        seen.forwarded = True
        assert self._session is not None
        request = exchange.request
        try:
            async with self._session.request(
                request.method, self._target(request), data=exchange.body or None, headers=_forwarded(request)
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError):
            return exchange.cut()
        seen.status = answer.status
        if seen.write and answer.status < 300:
            _note_object(seen, answer.status, body)
        return web.Response(status=answer.status, body=body, headers=_kept(answer.headers))

    async def watch(self, exchange: Exchange, change: Lines | None) -> web.StreamResponse:
        """Forward a watch, an event at a time."""
        assert self._session is not None
        request = exchange.request
        exchange.seen.forwarded = True
        try:
            async with self._session.get(
                self._target(request), headers=_forwarded(request), timeout=aiohttp.ClientTimeout(total=None)
            ) as answer:
                exchange.seen.status = answer.status
                if answer.status != 200:
                    return web.Response(
                        status=answer.status, body=await answer.read(), headers=_kept(answer.headers)
                    )
                return await self._stream(exchange, answer, change)
        except (aiohttp.ClientError, OSError):
            return exchange.cut()

    async def _stream(
        self, exchange: Exchange, answer: aiohttp.ClientResponse, change: Lines | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_kept(answer.headers))
        await response.prepare(exchange.request)
        open_watch = OpenWatch(exchange.seen.path, exchange.request.transport)
        self._watches.add(open_watch)
        try:
            lines = lines_of(answer.content)
            async for line in change(lines) if change else lines:
                if not open_watch.silent:
                    await response.write(line + b"\n")
                    open_watch.delivered += 1
            await response.write_eof()
        except (ConnectionError, aiohttp.ClientError):
            reset(exchange.request.transport)
        finally:
            self._watches.discard(open_watch)
        return response

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(
            number=len(self.seen),
            at=time.monotonic(),
            verb=request.method,
            path=request.path,
            query=request.query_string,
            manager=request.query.get("fieldManager", ""),
            agent=request.headers.get("User-Agent", ""),
            watch=request.query.get("watch", "") in {"1", "true"},
            digest=hashlib.sha256(body).hexdigest()[:16] if body else "",
        )
        self.seen.append(seen)
        exchange = Exchange(self, request, body, seen)
        if self._tokens and request.headers.get("Authorization") not in [f"Bearer {t}" for t in self._tokens]:
            return exchange.answer(401, "Unauthorized", "Unauthorized")
        if seen.watch:
            return await self._treat(exchange)
        # A client that is killed now must not take its write back: the server would not either.
        task = asyncio.create_task(self._treat(exchange))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _treat(self, exchange: Exchange) -> web.StreamResponse:
        rule = next((rule for rule in self.rules if rule.meets(exchange.seen, self._chance)), None)
        if rule is None:
            return await exchange.forward()
        exchange.seen.fault = getattr(rule.act, "__name__", repr(rule.act))
        return await rule.act(exchange)

    def _target(self, request: web.Request) -> str:
        return self._upstream.server + request.raw_path

    async def _listen(self) -> None:
        application = web.Application(client_max_size=16 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site.port

    async def _stop_listening(self) -> None:
        assert self._runner is not None
        server = self._runner.server
        for connection in list(server.connections) if server else ():
            reset(connection.transport)
        await self._runner.cleanup()
        self._runner = None


def _forwarded(request: web.Request) -> dict[str, str]:
    # Bodies stay readable here, so nothing compressed is asked for.
    kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    return {**kept, "Accept-Encoding": "identity"}


def _kept(headers: Iterable[Any]) -> CIMultiDict[str]:
    assert hasattr(headers, "items")
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def _note_object(seen: Seen, status: int, body: bytes) -> None:
    metadata = json.loads(body).get("metadata", {})
    seen.created = status == 201
    seen.uid, seen.version = metadata.get("uid", ""), metadata.get("resourceVersion", "")
