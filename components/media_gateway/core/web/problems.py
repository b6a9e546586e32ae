"""Errors to problem documents (RFC 9457). The only place that knows which status an error has."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from aiohttp import web

from media_gateway.core.errors import (
    ConflictError,
    DeadlineExceededError,
    FieldError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from media_gateway.core.telemetry import current_request_id
from media_gateway.core.web.schemas import FieldProblem, Problem, to_bytes

CONTENT_TYPE = "application/problem+json"

TYPE_PREFIX = "tag:mediagateway.io,2025:problem/"
"""Problem types are tag URIs (RFC 4151): stable names that promise no page behind them (RFC 9457 section 3.1.1)."""

UNAVAILABLE_RETRY_MS = 1_000
"""Wait that a 503 asks for when nobody knows better: about the time a restarted dependency needs at least."""


class UnsupportedMediaTypeError(MediaGatewayError):
    """The body is of a kind that the route does not read."""

    code: ClassVar[str] = "unsupported_media_type"


class PreconditionRequiredError(MediaGatewayError):
    """A change was sent without saying which state it is meant for."""

    code: ClassVar[str] = "precondition_required"


class HeaderTooLargeError(MediaGatewayError):
    """The request line or a header is longer than what is read."""

    code: ClassVar[str] = "header_too_large"


STATUSES: Mapping[type[MediaGatewayError], HTTPStatus] = {
    InvalidInputError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    PreconditionRequiredError: HTTPStatus.PRECONDITION_REQUIRED,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HeaderTooLargeError: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    MediaGatewayError: HTTPStatus.INTERNAL_SERVER_ERROR,
    UpstreamError: HTTPStatus.BAD_GATEWAY,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotConfiguredError: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceededError: HTTPStatus.GATEWAY_TIMEOUT,
}

TITLES: Mapping[str, str] = {
    "invalid_input": "The request is not valid",
    "unauthenticated": "Not authenticated",
    "permission_denied": "Not allowed",
    "not_found": "Not found",
    "method_not_allowed": "Method not allowed",
    "conflict": "Conflict with the present state",
    "precondition_failed": "Changed in the meantime",
    "precondition_required": "If-Match is required",
    "payload_too_large": "The body is too large",
    "unsupported_media_type": "Unsupported media type",
    "header_too_large": "A header is too large",
    "rate_limited": "Too many requests",
    "internal": "Internal error",
    "upstream_failed": "A service behind this one failed",
    "unavailable": "Not available at the moment",
    "not_configured": "Not configured",
    "deadline_exceeded": "Out of time",
}


def status_of(error: MediaGatewayError) -> HTTPStatus:
    """The HTTP status of an error: that of its class, or of the nearest base in the table."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem_response(error: MediaGatewayError) -> web.Response:
    """The answer for an error of ours."""
    status = status_of(error)
    retry_after_ms = error.retry_after_ms
    if retry_after_ms is None and status is HTTPStatus.SERVICE_UNAVAILABLE and error.retryable:
        retry_after_ms = UNAVAILABLE_RETRY_MS
    headers = {}
    if retry_after_ms is not None:
        # Whole seconds is all the header can say (RFC 9110 section 10.2.3); the body has the exact figure.
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_ms / 1000)))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = str(error.details.get("challenge", 'Bearer realm="media-gateway"'))
    return _response(
        Problem(
            type=TYPE_PREFIX + error.code,
            title=TITLES.get(error.code, status.phrase),
            status=status,
            detail=error.message,
            code=error.code,
            retryable=error.retryable,
            request_id=current_request_id(),
            retry_after_ms=retry_after_ms,
            errors=[FieldProblem(field=e.field, message=e.message) for e in error.errors] or None,
        ),
        headers,
        {name: value for name, value in error.details.items() if name != "challenge"},
    )


def http_problem_response(error: web.HTTPException) -> web.Response:
    """The answer for an error that aiohttp raised (404, 405, 413 and the like)."""
    if isinstance(error, web.HTTPMethodNotAllowed) and error.allowed_methods == {"OPTIONS"}:
        # Every address answers what browsers ask beforehand; there is nothing there for it.
        error = web.HTTPNotFound()
    status = HTTPStatus(error.status)
    code = {413: "payload_too_large"}.get(error.status, status.name.lower())
    code = {
        "unauthorized": "unauthenticated",
        "forbidden": "permission_denied",
        "bad_request": "invalid_input",
    }.get(code, code)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    detail = {404: "there is nothing at this address", 405: "this address does not know that method"}
    return _response(
        Problem(
            type=TYPE_PREFIX + code,
            title=TITLES.get(code, status.phrase),
            status=status,
            detail=detail.get(error.status, status.description or status.phrase),
            code=code,
            retryable=False,
            request_id=current_request_id(),
        ),
        headers,
        {},
    )


def invalid(field: str, message: str) -> InvalidInputError:
    """An input error about one field."""
    return InvalidInputError(f"{field}: {message}" if field else message, errors=[FieldError(field, message)])


def _response(problem: Problem, headers: Mapping[str, str], details: Mapping[str, Any]) -> web.Response:
    # Details never replace a member that the standard or we have given a meaning.
    extra = {name: value for name, value in details.items() if name not in Problem.model_fields}
    problem = Problem.model_construct(**{n: v for n, v in problem if v is not None}, **extra)
    return web.Response(
        status=problem.status,
        body=to_bytes(problem, exclude_none=True),
        content_type=CONTENT_TYPE,
        headers=headers,
    )
