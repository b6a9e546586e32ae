"""What the API server may answer that the core's errors have no word for.

Everything else is told by the core's family: `ConflictError` 409, `InvalidInputError` 400 and 422, `RateLimitedError` 429,
`PermissionDeniedError` 403, `UnauthenticatedError` 401, `NotFoundError` 404, `UnavailableError` 5xx and no answer.
"""

from media_gateway.core.errors import ConflictError, MediaGatewayError, PermissionDeniedError


class GoneError(MediaGatewayError):
    """410: the point in time that a list or watch began at is forgotten; begin anew."""

    code = "gone"
    retryable = True


class TerminatingError(PermissionDeniedError):
    """The namespace is being deleted, so nothing can be created in it: a quiet end, not a failure."""

    code = "terminating"


class NotLeaderError(ConflictError):
    """The lease is no longer certain, so this process must not write."""

    code = "not_leader"
