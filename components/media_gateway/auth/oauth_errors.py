"""Errors of OAuth's endpoints: ``error`` and ``error_description`` (RFC 6749 section 5.2)."""

from media_gateway.core.errors import InvalidInputError, UnauthenticatedError


class OAuthError(InvalidInputError):
    """A request that OAuth refuses with status 400.

    Parameters
    ----------
    error
        Name in RFC 6749 section 5.2 or an extension: ``invalid_grant``, ``authorization_pending``, ``invalid_target``…
    """

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class InvalidClientError(UnauthenticatedError):
    """The program is not known, or did not prove itself; one text for both."""

    def __init__(self, message: str = "the client is not known or did not prove itself") -> None:
        super().__init__(message, details={"challenge": 'Basic realm="media-gateway"'})
        self.error = "invalid_client"
