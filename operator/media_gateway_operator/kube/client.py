"""The operator's own client of the API server: server-side apply over aiohttp, bounded, counted, fenced.

Used by the engine and by reconcilers while they observe. It retries nothing but one expired token: whoever asked has a
queue with backoff. Every write first asks the fence whether this process may still write.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import aiohttp
import orjson
from prometheus_client import Counter
from yarl import URL

from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from media_gateway_operator.kube.config import Access
from media_gateway_operator.kube.errors import GoneError, TerminatingError
from media_gateway_operator.kube.kinds import MANAGER, Object, Ref, ResourceKind

CHUNK: Final = 500
"""Objects of one page of a list."""

SERVED_KEPT_S: Final = 120.0
"""How long it is remembered which kinds the API server knows."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

_requests = Counter("mgw_operator_api_requests_total", "Answers of the API server", ["verb", "code"])


class Fence(Protocol):
    """Says whether this process may write."""

    def check(self) -> float:
        """Seconds for which that is certain; raises `NotLeaderError` if it may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the client: requests at once, a second, and how long one may take (seconds)."""

    in_flight: int = 32
    rate: float = 1_000.0
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    verb: str
    method: str
    path: str
    params: Mapping[str, str]
    body: Object | None = None
    content_type: str = "application/json"
    fenced: bool = True


class KubeClient:
    """A session with the API server.

    Parameters
    ----------
    access
        Where and who.
    fence
        Asked before each write; None writes without asking (the lease itself, tests).
    """

    def __init__(self, access: Access, *, limits: Limits | None = None, fence: Fence | None = None) -> None:
        self._access = access
        self._limits = limits or Limits()
        self._fence = fence
        self._slots = asyncio.Semaphore(self._limits.in_flight)
        self._next_at = 0.0
        self._served: dict[str, tuple[float, frozenset[str]]] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limits.in_flight, ssl=access.tls or True),
            # Compression saves nothing inside a cluster and costs both sides processor time.
            # The keys of tokens come as application/jwk-set+json only.
            headers={
                "Accept": "application/json, application/jwk-set+json;q=0.5",
                "Accept-Encoding": "identity",
                "User-Agent": MANAGER,
            },
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, ref: Ref) -> Object | None:
        """An object, or None if there is none (or the API server doesn't know the kind)."""
        try:
            return await self.read(_path(ref.kind, ref.namespace, ref.name))
        except NotFoundError:
            return None

    async def read(self, path: str, **params: str) -> Object:
        """Any document of the API server by its path.

        Raises
        ------
        NotFoundError
            There is none.
        """
        return await self._send(_Request(verb="get", method="GET", path=path, params=params))

    async def list(
        self,
        kind: ResourceKind,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        limit: int | None = None,
    ) -> AsyncIterator[Object]:
        """Objects of a kind, page by page; without a namespace of all.

        Parameters
        ----------
        limit
            Most objects to be given.

        Raises
        ------
        GoneError
            The list took so long that the server forgot where it began.
        """
        params = {"limit": str(min(limit or CHUNK, CHUNK))}
        if label_selector:
            params["labelSelector"] = label_selector
        left = limit
        while True:
            page = await self._send(
                _Request(verb="list", method="GET", path=_path(kind, namespace), params=params)
            )
            items = page.get("items") or []
            for item in items if left is None else items[:left]:
                # Items of a list come without the two fields that every other answer has.
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            left = None if left is None else left - len(items)
            params["continue"] = page["metadata"].get("continue") or ""
            if not params["continue"] or (left is not None and left <= 0):
                return

    async def apply(self, manifest: Object, *, manager: str = MANAGER, force: bool = True) -> Object:
        """Server-side apply of a whole manifest; gives the object as it is then.

        Raises
        ------
        ConflictError
            Without ``force``: another manager owns a field with another value.
        """
        return await self._apply(manifest, "", manager, force=force)

    async def apply_status(self, manifest: Object, *, manager: str = MANAGER) -> Object:
        """Server-side apply of ``status``; the manifest has nothing else but what names the object."""
        return await self._apply(manifest, "status", manager, force=True)

    async def _apply(self, manifest: Object, subresource: str, manager: str, *, force: bool) -> Object:
        ref = Ref.of(manifest)
        return await self._send(
            _Request(
                verb="apply",
                method="PATCH",
                path=_path(ref.kind, ref.namespace, ref.name, subresource),
                params={"fieldManager": manager, "force": "true" if force else "false"},
                body=manifest,
                content_type=APPLY,
            )
        )

    async def create(self, manifest: Object, *, manager: str = MANAGER, fenced: bool = True) -> Object:
        """Create an object.

        Raises
        ------
        ConflictError
            It exists.
        """
        ref = Ref.of(manifest)
        return await self._send(
            _Request(
                verb="create",
                method="POST",
                path=_path(ref.kind, ref.namespace),
                params={"fieldManager": manager},
                body=manifest,
                fenced=fenced,
            )
        )

    async def replace(self, manifest: Object, *, manager: str = MANAGER, fenced: bool = True) -> Object:
        """Replace an object; its ``resourceVersion`` must be the current one.

        Raises
        ------
        ConflictError
            Somebody else was faster.
        """
        ref = Ref.of(manifest)
        return await self._send(
            _Request(
                verb="update",
                method="PUT",
                path=_path(ref.kind, ref.namespace, ref.name),
                params={"fieldManager": manager},
                body=manifest,
                fenced=fenced,
            )
        )

    async def patch(self, ref: Ref, body: Object, *, manager: str = MANAGER) -> Object:
        """Merge a part into an object."""
        return await self._send(
            _Request(
                verb="patch",
                method="PATCH",
                path=_path(ref.kind, ref.namespace, ref.name),
                params={"fieldManager": manager},
                body=body,
                content_type=MERGE,
            )
        )

    async def delete(
        self,
        ref: Ref,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        """Delete an object; an absent one is fine.

        Parameters
        ----------
        uid
            Only if it is still this one.

        Raises
        ------
        ConflictError
            Another object has its name by now.
        """
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        request = _Request(
            verb="delete",
            method="DELETE",
            path=_path(ref.kind, ref.namespace, ref.name),
            params={},
            body=body,
        )
        try:
            await self._send(request)
        except NotFoundError:
            return

    async def serves(self, kind: ResourceKind) -> bool:
        """Whether the API server knows a kind; kept for two minutes."""
        known = self._served.get(kind.root)
        if known is None or time.monotonic() - known[0] > SERVED_KEPT_S:
            try:
                document = await self.read(kind.root)
            except NotFoundError:
                document = {}
            known = (time.monotonic(), frozenset(one["name"] for one in document.get("resources", ())))
            self._served[kind.root] = known
        return kind.plural in known[1]

    def forget_served(self) -> None:
        """Ask anew which kinds there are."""
        self._served.clear()

    async def _send(self, request: _Request) -> Object:
        try:
            return await self._send_once(request)
        except UnauthenticatedError:
            # Tokens of pods are replaced while we run; the file has the new one.
            self._access.renew()
            return await self._send_once(request)

    async def _send_once(self, request: _Request) -> Object:
        await self._turn()
        async with self._slots:
            timeout_s = self._limits.timeout_s
            if request.method != "GET" and request.fenced and self._fence is not None:
                # Last thing before the wire, and no request outlives the time for which the lease is certain.
                timeout_s = min(timeout_s, self._fence.check())
            try:
                async with self._session.request(
                    request.method,
                    URL(self._access.server + request.path),
                    params=request.params,
                    data=None if request.body is None else orjson.dumps(request.body),
                    headers={**self._access.headers(), "Content-Type": request.content_type},
                    timeout=aiohttp.ClientTimeout(total=timeout_s),
                ) as response:
                    content = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _requests.labels(request.verb, "none").inc()
                raise UnavailableError(
                    f"the API server did not answer ({type(error).__name__}): {request.method} {request.path}"
                ) from error
        _requests.labels(request.verb, str(response.status)).inc()
        if response.status >= 300:
            raise _error(request, response.status, content, response.headers)
        try:
            document: Object = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            # Whoever stands between us and the API server has cut it off or made it up.
            raise UnavailableError(f"{request.method} {request.path} was not answered with JSON") from error
        return document

    async def _turn(self) -> None:
        # Evenly spaced turns with a little slack: a burst of a tenth of a second's worth goes out at once.
        now = time.monotonic()
        self._next_at = max(self._next_at, now - 0.1) + 1 / self._limits.rate
        if self._next_at > now:
            await asyncio.sleep(self._next_at - now)


def _path(kind: ResourceKind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    parts = [kind.root, *(("namespaces", namespace) if namespace else ()), kind.plural]
    return "/".join([*parts, *(part for part in (name, subresource) if part)])


_FAMILY: Final[Mapping[int, type[MediaGatewayError]]] = {
    400: InvalidInputError,
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: InvalidInputError,
    415: InvalidInputError,
    422: InvalidInputError,
}


def _error(request: _Request, status: int, content: bytes, headers: Mapping[str, str]) -> MediaGatewayError:
    document = _status_document(content)
    message = str(document.get("message") or f"{request.method} {request.path} was answered with {status}")
    if status in {403, 404, 409} and _terminating(document):
        return TerminatingError(message)
    if status == 500 and "failed to create typed patch object" in message:
        # A manifest that doesn't fit the schema; the API server calls that an error of its own.
        return InvalidInputError(message)
    if status == 429 or (status >= 500 and "Retry-After" in headers):
        return RateLimitedError(message, retry_after_ms=_retry_after_ms(headers))
    return _FAMILY.get(status, UnavailableError)(message)


def _status_document(content: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _terminating(document: dict[str, Any]) -> bool:
    causes = (document.get("details") or {}).get("causes") or ()
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return True
    # The namespace may be gone already when the request arrives.
    details = document.get("details") or {}
    return document.get("reason") == "NotFound" and details.get("kind") == "namespaces"


def _retry_after_ms(headers: Mapping[str, str]) -> int:
    value = headers.get("Retry-After", "")
    return int(value) * 1000 if value.isdecimal() else 1000
