"""Tokens by which services prove themselves to each other: short-lived, signed with the shared secret, no access tokens.

A header that only claims to be internal proves nothing. The gateway takes this one off whatever comes from outside; a
copied token is good for a minute.
"""

import time
from typing import Final

import jwt

from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import NotConfiguredError, UnauthenticatedError
from media_gateway.core.settings import MIN_SECRET_BYTES
from media_gateway.core.tokens import LEEWAY_S

HEADER: Final = "X-Service-Token"
"""Beside ``Authorization``, which may hold the token of the user that a service acts for."""

AUDIENCE: Final = "internal"
TOKEN_TYPE: Final = "service+jwt"  # noqa: S105 - a media type
TTL_S: Final = 60
MAX_TOKEN_BYTES: Final = 1_024


def mint_internal(secret: str, service: str, *, ttl_s: int = TTL_S) -> str:
    """Sign a token of a service.

    Raises
    ------
    NotConfiguredError
        The secret is shorter than 32 bytes.
    """
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise NotConfiguredError(f"the signing secret is shorter than {MIN_SECRET_BYTES} bytes")
    now = int(time.time())
    claims = {"aud": AUDIENCE, "sub": service, "iat": now, "exp": now + ttl_s, "jti": str(uuid7())}
    return jwt.encode(claims, secret, algorithm="HS256", headers={"typ": TOKEN_TYPE})


def verify_internal(secret: str, token: str) -> str:
    """The service that a token was signed for. The signature is compared in constant time (`hmac.compare_digest`).

    Raises
    ------
    UnauthenticatedError
        Not a valid token of a service; the message never repeats it.
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise UnauthenticatedError("the service token is malformed")
    try:
        decoded = jwt.decode_complete(
            token,
            secret,
            algorithms=["HS256"],
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "aud", "sub"]},
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UnauthenticatedError("the service token is not valid") from error
    service = decoded["payload"]["sub"]
    if decoded["header"].get("typ") != TOKEN_TYPE or not isinstance(service, str) or not service:
        raise UnauthenticatedError("the service token is not valid")
    return service
