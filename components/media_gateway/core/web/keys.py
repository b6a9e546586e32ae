"""Typed keys of what the kit keeps in an application and on a request."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from media_gateway.core.health import Health
from media_gateway.core.limiting.rules import Decision
from media_gateway.core.revoked import RevokedTokens
from media_gateway.core.tokens import Caller, TokenVerifier
from media_gateway.core.web.routing import Route


@dataclass(frozen=True, slots=True)
class Failure:
    """What the line of a failed request says beside its status.

    Attributes
    ----------
    code, detail : str
        As in the problem document.
    cause : BaseException | None
        What nobody foresaw; logged with its stack.
    """

    code: str
    detail: str
    cause: BaseException | None = None


BODY = web.RequestKey("body", bytes)
"""The body, once it has been read."""

DECISION = web.RequestKey("decision", Decision)
"""What the rate limits said, if some are about the request."""

LEGACY_HEADERS = web.AppKey("legacy_headers", bool)
"""Whether answers also have the old headers about rate limits."""

CALLER = web.RequestKey("caller", Caller)
"""Who sends the request, if a token was given and the route considers it: ``request.get(CALLER)``."""

REVOKED = web.AppKey("revoked", RevokedTokens)
"""Tokens that are no good any more; of components that need Redis."""

REQUEST_ID = web.RequestKey("request_id", str)
"""Id of the request, the caller's or ours."""

FAILURE = web.RequestKey("failure", Failure)
"""Why the request failed, for its line in the log."""

PREPARED = web.RequestKey("prepared", bool)
"""Set once the head of the answer is out, from when on no other answer is possible."""

HEALTH = web.AppKey("health", Health)
"""The component's checks."""

ENDPOINTS = web.AppKey("endpoints", dict[object, Route])
"""The route behind each aiohttp handler."""

IN_FLIGHT = web.AppKey("in_flight", dict[asyncio.Task[object], RequestHandler])
"""The tasks that are answering requests now, each with its connection; the drain waits for them."""

VERIFIER = web.AppKey("verifier", TokenVerifier)
"""Checks the tokens of requests; the issuer gives it its keys itself."""
