"""Answers that are the same for everybody, kept for a while: to GET, for callers without a token, by the route table.

Called by the doors. What a person gets is never kept: a token, a cookie or the service's own ``Cache-Control`` forbids it.
"""

import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlencode

import orjson
from aiohttp import hdrs, web

from media_gateway.core.api_keys import HEADER as API_KEY_HEADER
from media_gateway.core.cache import CacheStore
from media_gateway.core.errors import MediaGatewayError
from media_gateway.gateway.table import Forward

X_CACHE: Final = "X-Cache"

_PRIVATE: Final = ("no-store", "private", "no-cache")
_KEPT_HEADERS: Final = ("Content-Type", "Content-Encoding", "Content-Language")


class ResponseCache:
    """Kept answers, shared by all replicas.

    Parameters
    ----------
    store
        Where they are kept; when it is slow or away, requests go through.
    clock
        Unix seconds.
    """

    def __init__(self, store: CacheStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def answer(
        self, request: web.Request, forward: Forward, ask: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """A kept answer or, by ``ask``, a new one.

        ``X-Cache`` says which (``HIT``, ``MISS``, ``BYPASS`` if there was no telling), unless nothing is ever kept for
        this request. With ``If-None-Match`` an answer that the caller has already is 304 without a body.
        """
        if not forward.kept_s or request.method != hdrs.METH_GET or _is_personal(request):
            return await ask()
        key = _key(request)
        state, body = "BYPASS", None
        if "no-cache" not in request.headers.get(hdrs.CACHE_CONTROL, ""):
            try:
                body = await self._store.get(key)
                state = "MISS" if body is None else "HIT"
            except MediaGatewayError:
                pass
        if body is not None:
            return self._kept(request, body)
        answer = await ask()
        if not answer.prepared:
            answer.headers[X_CACHE] = state
            if isinstance(answer, web.Response) and _may_be_kept(answer):
                answer = self._keep(request, key, answer, forward.kept_s)
        return answer

    def _keep(self, request: web.Request, key: str, answer: web.Response, kept_s: int) -> web.Response:
        body = answer.body if isinstance(answer.body, bytes) else b""
        etag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        until_s = self._clock() + kept_s
        facts = orjson.dumps([until_s, etag, headers])
        self._store.put(key, len(facts).to_bytes(2) + facts + body, life_s=kept_s)
        answer.headers[hdrs.ETAG] = etag
        answer.headers[hdrs.CACHE_CONTROL] = f"public, max-age={kept_s}"
        if _has_it(request, etag):
            return _unchanged(answer)
        return answer

    def _kept(self, request: web.Request, stored: bytes) -> web.Response:
        length = int.from_bytes(stored[:2])
        until_s, etag, headers = orjson.loads(stored[2 : 2 + length])
        headers |= {
            hdrs.ETAG: etag,
            hdrs.CACHE_CONTROL: f"public, max-age={max(0, round(until_s - self._clock()))}",
            X_CACHE: "HIT",
        }
        answer = web.Response(body=stored[2 + length :], headers=headers)
        return _unchanged(answer) if _has_it(request, etag) else answer


def _is_personal(request: web.Request) -> bool:
    return hdrs.AUTHORIZATION in request.headers or API_KEY_HEADER in request.headers


def _key(request: web.Request) -> str:
    # The order of parameters says nothing; a repeated one stays repeated.
    query = urlencode(sorted(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)))
    address = f"{request.rel_url.raw_path}?{query}"
    return f"gateway:1:{sha256(address.encode()).hexdigest()}"


def _may_be_kept(answer: web.Response) -> bool:
    control = answer.headers.get(hdrs.CACHE_CONTROL, "")
    return (
        answer.status == 200
        and hdrs.SET_COOKIE not in answer.headers
        and hdrs.VARY not in answer.headers
        and not any(word in control for word in _PRIVATE)
    )


def _has_it(request: web.Request, etag: str) -> bool:
    """RFC 9110 section 13.1.2: the weak comparison, since what is asked for is read and not put together from parts."""
    return any(tag.value == "*" or f'"{tag.value}"' == etag for tag in request.if_none_match or ())


def _unchanged(answer: web.Response) -> web.Response:
    headers = {name: answer.headers[name] for name in (hdrs.ETAG, hdrs.CACHE_CONTROL, X_CACHE)}
    return web.Response(status=304, headers=headers)
