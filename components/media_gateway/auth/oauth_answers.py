"""How OAuth's endpoints answer errors: ``error`` and ``error_description`` (RFC 6749 section 5.2)."""

from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from pydantic import Field

from media_gateway.auth.oauth_errors import InvalidClientError, OAuthError
from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)
from media_gateway.core.web import Wire, respond
from media_gateway.core.web.problems import problem_response, status_of

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}

POLL_LIMIT: Final = "poll"
"""Name of the limit on polls with device codes."""

_NAMES = {
    InvalidInputError: "invalid_request",
    UnauthenticatedError: "invalid_token",
    PermissionDeniedError: "access_denied",
    NotFoundError: "not_found",
    ConflictError: "already_decided",
    RateLimitedError: "rate_limit_exceeded",
}


class OAuthProblem(Wire):
    """An error in OAuth's shape."""

    error: str = Field(examples=["authorization_pending"])
    error_description: str


def oauth_answer(error: MediaGatewayError) -> web.Response:
    """An error in OAuth's shape; status and headers as in any answer of ours."""
    name = error_name(error)
    status = int(status_of(error))
    answer = problem_response(error)
    kept = {
        key: value for key, value in answer.headers.items() if key in {"Retry-After", hdrs.WWW_AUTHENTICATE}
    }
    if _is_limited_poll(error):
        # Clients give up at a 429 that says anything else (they know no other reason to wait).
        name = "slow_down"
    body = OAuthProblem(error=name, error_description=_description(error))
    return respond(body, status=status, headers={**kept, **NO_STORE})


def error_name(error: MediaGatewayError) -> str:
    """The name of an error among OAuth's."""
    if isinstance(error, OAuthError | InvalidClientError):
        return error.error
    named = (_NAMES[kind] for kind in type(error).__mro__ if kind in _NAMES)
    return next(named, None) or _other_name(error)


def _other_name(error: MediaGatewayError) -> str:
    if error.retryable:
        return "temporarily_unavailable"
    # What is wrong with the request itself (too long, no form) has no name of its own in RFC 6749.
    return "server_error" if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request"


def _is_limited_poll(error: MediaGatewayError) -> bool:
    return isinstance(error, RateLimitedError) and POLL_LIMIT in error.details.get("violated-policies", ())


def _description(error: MediaGatewayError) -> str:
    fields = "; ".join(f"{one.field}: {one.message}" for one in error.errors)
    return fields or error.message
