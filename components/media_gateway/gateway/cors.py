"""Calls from web pages of other origins: who may, and the headers that tell browsers so (Fetch standard, CORS protocol)."""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS: Final = (
    "Authorization, Content-Type, If-Match, If-None-Match, X-API-Key, X-Request-Id, X-Request-Deadline-Ms"
)
EXPOSED: Final = "ETag, RateLimit, RateLimit-Policy, Retry-After, X-Cache, X-Request-Id, X-Search-Id"
MAX_AGE_S: Final = 600
"""How long a browser remembers that it may; Chromium keeps at most two hours."""


class CrossOrigin:
    """The origins whose pages may call. No cookies are ever allowed: callers name themselves by a token.

    Parameters
    ----------
    origins
        Such as ``https://app.example``; ``*`` for all.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, request: web.Request) -> dict[str, str]:
        """Headers of the answer to a browser's question; none of them for an origin that may not call."""
        allowed = self._allowed(request)
        if allowed is None:
            return {}
        return {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: allowed,
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_S),
            hdrs.VARY: hdrs.ORIGIN,
        }

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let a page read the answer, if its origin may; called when headers are about to be sent."""
        if not self._origins or request.method == hdrs.METH_OPTIONS:
            return
        if "*" not in self._origins:
            # An answer kept for one origin must not be given to another.
            vary = response.headers.get(hdrs.VARY)
            response.headers[hdrs.VARY] = f"{vary}, Origin" if vary else hdrs.ORIGIN
        allowed = self._allowed(request)
        if allowed is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED

    def _allowed(self, request: web.Request) -> str | None:
        if "*" in self._origins:
            return "*"
        origin = request.headers.get(hdrs.ORIGIN)
        return origin if origin in self._origins else None


CORS = web.AppKey("cors", CrossOrigin)
