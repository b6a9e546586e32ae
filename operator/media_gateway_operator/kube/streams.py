"""The HTTP session that the watches run over, and what can be told by listening to it.

The watching library passes on neither bookmarks nor the end of a list. Both are seen here, one layer below: when a watch
was last heard of, and when it has begun anew after a list, so that the operator can list what exists by itself and find
out what went unseen.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, StreamReader
from yarl import URL

from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.kinds import MANAGER, ResourceKind

NOBODY: Final = "NOBODY"
"""No object can have this name: it has capitals."""

REFUSED_PAUSE_S: Final = 20.0
"""How long a refusal is kept from the library, which asks again, and complains, at once."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One watch: a kind, in one namespace or (None) in all."""

    kind: ResourceKind
    namespace: str | None

    @property
    def path(self) -> str:
        """Where the API server offers it."""
        inside = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{self.kind.root}{inside}/{self.kind.plural}"

    def __str__(self) -> str:
        return f"{self.kind.kind} in {self.namespace}" if self.namespace else self.kind.kind


class Streams:
    """All watches of this process.

    Parameters
    ----------
    relisted
        Called when a watch has begun after a list.
    refused
        Called when there is no right to see what a namespace holds: it is gone, and the role in it, or not there yet.
    """

    def __init__(
        self,
        access: Access,
        streams: Iterable[Stream],
        relisted: Callable[[Stream], None],
        refused: Callable[[Stream], None] = lambda _: None,
        *,
        refused_pause_s: float = REFUSED_PAUSE_S,
    ) -> None:
        self._access = access
        self._refused = refused
        self._refused_pause_s = refused_pause_s
        self._root = URL(access.server).path.rstrip("/")
        self._streams = {f"{self._root}{stream.path}": stream for stream in streams}
        self._relisted = relisted
        self._heard: dict[Stream, float] = {}
        self._listing: set[Stream] = set()

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    @property
    def server(self) -> str:
        """Address of the API server."""
        return self._access.server

    def restart(self) -> None:
        """The watches begin now."""
        self._heard = dict.fromkeys(self._streams.values(), time.monotonic())
        self._listing.clear()

    def ages(self) -> Mapping[Stream, float]:
        """For how many seconds nothing was heard of each watch; empty before `restart`."""
        now = time.monotonic()
        return {stream: now - heard for stream, heard in self._heard.items()}

    def session(self) -> aiohttp.ClientSession:
        """A new session that is listened to."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._access.tls or True),
            headers={"Accept-Encoding": "identity", "User-Agent": MANAGER},
            middlewares=(self._listen,),
        )

    async def _listen(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        stream = self._streams.get(request.url.path)
        if stream is None:
            return await self._sent(request, handler)
        watches = "watch" in request.url.query
        if not watches:
            # The library would hand on each object by itself, at the price of an event. All it needs of a list is the
            # version to watch from; what exists is listed by us, once the watch has begun.
            request.url = request.url.update_query(fieldSelector=f"metadata.name={NOBODY}")
        response = await self._sent(request, handler)
        if response.status == HTTPStatus.GONE and watches:
            # The version to go on from is forgotten; the library knows that as an event only, not as an answer.
            response.release()
            request.url = request.url.without_query_params("resourceVersion")
            self._listing.add(stream)
            response = await self._sent(request, handler)
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            self._answered(stream, response, watches=watches)
        elif response.status == HTTPStatus.FORBIDDEN and stream.namespace is not None:
            # An answer too: nothing is wrong with the connection, and a restart of the process would not help.
            self._note(stream)
            self._refused(stream)
            await asyncio.sleep(self._refused_pause_s)
        return response

    async def _sent(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        request.headers.update(self._access.headers())
        response = await handler(request)
        if response.status != HTTPStatus.UNAUTHORIZED:
            return response
        # The token was replaced while the watch ran; the library would close all connections over it.
        response.release()
        self._access.renew()
        request.headers.update(self._access.headers())
        return await handler(request)

    def _answered(self, stream: Stream, response: ClientResponse, *, watches: bool) -> None:
        self._note(stream)
        if not watches:
            self._listing.add(stream)
            return
        response.content = _Heard(response.content, lambda: self._note(stream))  # type: ignore[assignment]
        if stream in self._listing:
            self._listing.discard(stream)
            self._relisted(stream)

    def _note(self, stream: Stream) -> None:
        self._heard[stream] = time.monotonic()


class _Heard:
    """A response's content that tells of each piece as it arrives."""

    def __init__(self, content: StreamReader, note: Callable[[], None]) -> None:
        self._content = content
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        async for data in self._content.iter_chunked(size):
            self._note()
            yield data
