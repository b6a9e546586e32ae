"""The stack every request passes, outermost first: identity, access log, errors, size and time, authentication and limits.

The order is fixed. Identity comes first so that every line and every problem document carries the request's id; the log
stands outside of the error mapping so that it sees the final status; limits stand before authentication so that a slow
key fetch is inside the deadline; rate limits stand after authentication, since most count by who calls, and count those who
fail it, too.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Gauge, Histogram

from media_gateway.core.deadline import HEADER as DEADLINE_HEADER, Deadline, deadline_scope
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import MediaGatewayError, PermissionDeniedError, UnauthenticatedError
from media_gateway.core.settings import CoreSettings
from media_gateway.core.telemetry import DURATION_BUCKETS_S, REQUEST_ID_HEADER, start_trace
from media_gateway.core.tokens import Caller, TokenVerifier
from media_gateway.core.web.exchange import BEARER_EXCHANGE
from media_gateway.core.web.keys import (
    CALLER,
    DECISION,
    ENDPOINTS,
    FAILURE,
    HEALTH,
    IN_FLIGHT,
    LEGACY_HEADERS,
    PREPARED,
    REQUEST_ID,
    Failure,
)
from media_gateway.core.web.limit_headers import set_limit_headers
from media_gateway.core.web.limits import NO_ROUTE, RequestLimits, refusing
from media_gateway.core.web.parsing import check_target, too_large
from media_gateway.core.web.problems import http_problem_response, problem_response, status_of
from media_gateway.core.web.routing import Auth

CLIENT_CLOSED: Final = 499
"""Status in log and metrics of a request whose client went away (nginx's convention; it is never sent)."""

UNMATCHED: Final = "unmatched"
OTHER: Final = "OTHER"

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer unless its handler has set the header itself."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:~+/=-]{1,128}", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = ("/health", "/metrics")

_log = structlog.get_logger(__name__)
_requests = Counter(
    "mgw_http_requests_total", "Answered requests", ["component", "method", "route", "status"]
)
_seconds = Histogram(
    "mgw_http_request_duration_seconds",
    "Time to answer a request",
    ["component", "method", "route"],
    buckets=DURATION_BUCKETS_S,
)
_in_flight = Gauge("mgw_http_requests_in_flight", "Requests being handled", ["component"])


def stack(
    component: str, settings: CoreSettings, verifier: TokenVerifier, limits: RequestLimits | None
) -> list[Middleware]:
    """The middlewares of an application, outermost first."""
    return [
        _identity(component),
        _observation(component),
        errors,
        _limits(settings),
        _authentication(verifier, limits),
    ]


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request id and the security headers on an answer; called when its headers are about to be sent."""
    request[PREPARED] = True
    set_headers(response, request.get(REQUEST_ID))
    if (decided := request.get(DECISION)) is not None:
        set_limit_headers(response.headers, decided, legacy=request.app[LEGACY_HEADERS])


def set_headers(response: web.StreamResponse, request_id: str | None) -> None:
    """As `add_headers`, for an answer that no application gave."""
    if request_id is not None:
        response.headers[REQUEST_ID_HEADER] = request_id
    response.headers[hdrs.SERVER] = "media-gateway"
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


def _identity(component: str) -> Middleware:
    @web.middleware
    async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
        offered = request.headers.get(REQUEST_ID_HEADER) or request.headers.get("X-Correlation-Id") or ""
        request_id = offered if _SANE_ID.fullmatch(offered) else str(uuid7())
        request[REQUEST_ID] = request_id
        span = start_trace(request.headers, request_id)
        # aiohttp runs each request in a task of its own, so nothing set here reaches another request.
        structlog.contextvars.bind_contextvars(
            service=component, request_id=request_id, trace_id=format(span.trace_id, "032x")
        )
        return await handler(request)

    return identity


def _observation(component: str) -> Middleware:
    in_flight = _in_flight.labels(component)

    @web.middleware
    async def observation(request: web.Request, handler: Handler) -> web.StreamResponse:
        _keep_track(request)
        in_flight.inc()
        started = time.perf_counter()
        status = CLIENT_CLOSED
        try:
            response = await handler(request)
        except Exception:
            # Half of an answer is out; aiohttp cuts the connection, so that the client sees that it is not whole.
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            raise
        else:
            status = response.status
            if request.app[HEALTH].draining and PREPARED not in request:
                # Tells the client to take its next request elsewhere, before this connection closes under it.
                response.force_close()
            return response
        finally:
            # Also on the way out of a cancellation: the client closed the connection.
            seconds = time.perf_counter() - started
            in_flight.dec()
            _record(component, request, status, seconds)

    return observation


def _keep_track(request: web.Request) -> None:
    task = asyncio.current_task()
    assert task is not None
    tasks = request.app[IN_FLIGHT]
    tasks[task] = request.protocol
    # The task also sends the answer, so the request is in flight until the task, not the handler, is done.
    task.add_done_callback(lambda done: tasks.pop(done, None))


def _record(component: str, request: web.Request, status: int, seconds: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource else UNMATCHED
    method = request.method if request.method in _METHODS else OTHER
    _counter(component, method, route, int(status)).inc()
    _histogram(component, method, route).observe(seconds)
    caller = request.get(CALLER)
    failure = request.get(FAILURE)
    problem = {"code": failure.code, "problem": failure.detail} if failure else {}
    if failure and failure.cause:
        problem["exc_info"] = failure.cause
    _level(route, status)(
        "request",
        method=method,
        route=route,
        status=int(status),
        latency_ms=round(seconds * 1000, 3),
        caller=_pseudonym(caller) if caller else "anonymous",
        **problem,
    )


# Labels are checked and locked for at every look-up; there are few sets of them.
@lru_cache(maxsize=2_000)
def _counter(component: str, method: str, route: str, status: int) -> Counter:
    return _requests.labels(component, method, route, str(status))


@lru_cache(maxsize=2_000)
def _histogram(component: str, method: str, route: str) -> Histogram:
    return _seconds.labels(component, method, route)


def record_refused(component: str, status: int, error: MediaGatewayError, request_id: str) -> None:
    """Count and log what was answered before it became a request."""
    _requests.labels(component, OTHER, UNMATCHED, str(status)).inc()
    _level(UNMATCHED, status)(
        "request", service=component, request_id=request_id, method=OTHER, route=UNMATCHED, status=status,
        code=error.code, problem=error.message,
    )  # fmt: skip


def _level(route: str, status: int) -> Callable[..., Any]:
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _log.error  # type: ignore[no-any-return]  # structlog's loggers are untyped
    if status > HTTPStatus.INTERNAL_SERVER_ERROR:
        return _log.warning  # type: ignore[no-any-return]  # as above
    quiet = route.startswith(_QUIET) and status < HTTPStatus.BAD_REQUEST
    return _log.debug if quiet else _log.info  # type: ignore[no-any-return]  # as above


def _pseudonym(caller: Caller) -> str:
    # The same caller has the same name in all logs, and the logs hold no account ids.
    return hashlib.sha256(caller.subject.encode(errors="replace")).hexdigest()[:16]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into a problem document, and keep it for the request's line in the log."""
    try:
        return await handler(request)
    except MediaGatewayError as error:
        unforeseen = status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR
        request[FAILURE] = Failure(error.code, error.message, error if unforeseen else None)
        if request.get(PREPARED):
            raise
        return _answer(request, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return http_problem_response(error)
    except Exception as error:
        request[FAILURE] = Failure(MediaGatewayError.code, "unhandled error", error)
        if request.get(PREPARED):
            raise
        return _answer(request, MediaGatewayError("something went wrong on our side"))


def _answer(request: web.Request, error: MediaGatewayError) -> web.Response:
    route = request.app[ENDPOINTS].get(request.match_info.handler)
    return ((route and route.answer_error) or problem_response)(error)


def _limits(settings: CoreSettings) -> Middleware:
    @web.middleware
    async def limits(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.app[ENDPOINTS].get(request.match_info.handler)
        body_limit = (route and route.body_limit_bytes) or settings.body_limit_bytes
        # A body of unknown length is counted while it is read.
        if (request.content_length or 0) > body_limit:
            raise too_large(body_limit)
        check_target(request)
        timeout_ms = (
            settings.request_timeout_ms if route is None or route.timeout_ms is None else route.timeout_ms
        )
        if timeout_ms == 0:
            return await handler(request)
        deadline = Deadline.from_header(request.headers.get(DEADLINE_HEADER), default_ms=timeout_ms)
        async with deadline_scope(deadline):
            return await handler(request)

    return limits


def _authentication(verifier: TokenVerifier, limits: RequestLimits | None) -> Middleware:
    @web.middleware
    async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.app[ENDPOINTS].get(request.match_info.handler, NO_ROUTE)
        if route is NO_ROUTE and limits is not None and hdrs.AUTHORIZATION in request.headers:
            # Counted with the caller, if it is one; what is wrong with the token matters to nobody here.
            with suppress(UnauthenticatedError):
                await _authenticate(request, verifier, Auth.OPTIONAL)
        if route.auth.considered:
            try:
                await _authenticate(request, verifier, route.auth)
            except (UnauthenticatedError, PermissionDeniedError) as error:
                if route.limits is None or limits is None:
                    raise
                # Charged first: guessing tokens is limited, too.
                handler = refusing(error)
        if route.limits is None or limits is None:
            return await handler(request)
        return await limits.handle(request, route, handler)

    return authentication


async def _authenticate(request: web.Request, verifier: TokenVerifier, auth: Auth) -> None:
    exchange = request.app.get(BEARER_EXCHANGE)
    token = await exchange.token_for(request) if exchange is not None else None
    if token is None:
        token = _offered_token(request)
    if token is None:
        if auth.required:
            raise UnauthenticatedError("this needs an access token: send Authorization: Bearer TOKEN")
        return
    try:
        caller = await verifier.verify(token)
    except UnauthenticatedError as error:
        raise _bad_token(error.message) from error
    request[CALLER] = caller
    if auth.needed_scope is not None and auth.needed_scope not in caller.scopes:
        raise PermissionDeniedError(
            f"this needs the scope {auth.needed_scope!r}", details={"needed_scope": auth.needed_scope}
        )


def _offered_token(request: web.Request) -> str | None:
    offered = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not offered:
        return None
    scheme, _, token = offered[0].strip().partition(" ")
    if len(offered) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise _bad_token("the Authorization header must be a single Bearer token")
    return token.strip()


def _bad_token(message: str) -> UnauthenticatedError:
    # RFC 6750 section 3.1: the challenge says that it was the token that was refused.
    return UnauthenticatedError(
        message, details={"challenge": 'Bearer realm="media-gateway", error="invalid_token"'}
    )
