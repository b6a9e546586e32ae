"""The HTTP session that the watches run over, and what can be told by listening to it.

The watching library passes on neither bookmarks nor the end of a list. Both are seen here, one layer below: when a watch
was last heard of, and when it has begun anew after a list, so that deletions in between can be looked for.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, StreamReader
from yarl import URL

from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.kinds import MANAGER, ResourceKind


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
    """

    def __init__(self, access: Access, streams: Iterable[Stream], relisted: Callable[[Stream], None]) -> None:
        self._access = access
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
        request.headers.update(self._access.headers())
        response = await handler(request)
        if response.status == 401:
            # The token was replaced while the watch ran; the library would close all connections over it.
            response.release()
            self._access.renew()
            request.headers.update(self._access.headers())
            response = await handler(request)
        stream = self._streams.get(request.url.path)
        if stream is not None and response.status < 300:
            self._answered(stream, request.url, response)
        return response

    def _answered(self, stream: Stream, url: URL, response: ClientResponse) -> None:
        self._note(stream)
        if "watch" not in url.query:
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
