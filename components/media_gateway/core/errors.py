"""The errors every service raises, and what a caller may do about each.

Adapters translate their driver's exceptions into these at the boundary; services raise them; one web middleware
turns them into RFC 9457 problem documents. Nothing here knows HTTP, SQL or a driver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of an input.

    Attributes
    ----------
    field : str
        Path of the field as the caller wrote it, dotted (``filters.year_range.from``); empty for the whole document.
    message : str
        What is wrong with it, in words a caller can act on.
    """

    field: str
    message: str


class MediaGatewayError(Exception):
    """Base of the family.

    Parameters
    ----------
    message
        One sentence for a person. It is shown to callers: no secret, no SQL, no stack.
    errors
        The wrong fields, for input errors.
    retry_after_ms
        Milliseconds after which another try may succeed (a floor for the caller's wait), if known.
    details
        Further machine-readable members of the problem document.
    """

    code: ClassVar[str] = "internal"
    """Stable machine-readable name, part of the API."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without being changed."""

    def __init__(
        self,
        message: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after_ms: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.errors = tuple(errors)
        self.retry_after_ms = retry_after_ms
        self.details = dict(details or {})


class InvalidInputError(MediaGatewayError):
    """The caller sent something that can never be accepted as it is."""

    code = "invalid_input"


class PayloadTooLargeError(MediaGatewayError):
    """The body is over the limit of the route."""

    code = "payload_too_large"


class UnauthenticatedError(MediaGatewayError):
    """The caller's token is missing, expired or not ours."""

    code = "unauthenticated"


class PermissionDeniedError(MediaGatewayError):
    """The caller is known and may not do this."""

    code = "permission_denied"


class NotFoundError(MediaGatewayError):
    """What the caller named does not exist (or is not theirs to see)."""

    code = "not_found"


class ConflictError(MediaGatewayError):
    """The state does not allow this now (a duplicate, a finished job, a stale revision)."""

    code = "conflict"


class PreconditionFailedError(MediaGatewayError):
    """What the caller wants to change is no longer in the state that the caller has seen."""

    code = "precondition_failed"


class RateLimitedError(MediaGatewayError):
    """The caller, or we at an upstream, asked too often."""

    code = "rate_limited"
    retryable = True


class NotConfiguredError(MediaGatewayError):
    """A setting is missing or wrong, or an optional package is not installed; an operator must act."""

    code = "not_configured"


class UpstreamError(MediaGatewayError):
    """Another service answered, with something we can't use."""

    code = "upstream_failed"


class UnavailableError(MediaGatewayError):
    """A dependency can't be reached or is not ready."""

    code = "unavailable"
    retryable = True


class DeadlineExceededError(MediaGatewayError):
    """The time allowed for the call is over."""

    code = "deadline_exceeded"
    retryable = True
