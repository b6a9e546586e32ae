"""API keys at the front door: exchanged at auth for a short-lived token, which is what services see.

The exchange is what core's authentication asks first, so that limits know the owner. Answers are kept in memory for a
while, under digests, so that a key costs auth one call a minute.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from aiohttp import hdrs, web

from media_gateway.core.api_keys import HEADER, MARK, is_key
from media_gateway.core.cache import Flights
from media_gateway.core.errors import (
    MediaGatewayError,
    NotConfiguredError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from media_gateway.core.http_client import Call, HttpClient, Limits
from media_gateway.core.service_tokens import HEADER as SERVICE_TOKEN_HEADER, mint_internal
from media_gateway.core.settings import PREFIX
from media_gateway.core.web.exchange import BEARER_EXCHANGE
from media_gateway.gateway.settings import Settings

KEPT_S: Final = 60.0
"""Longest a token is used for a key: how long a revoked one may still work here."""

MARGIN_S: Final = 30.0
"""What must be left of a token's life when it is sent on, in seconds."""

REFUSED_S: Final = 10.0
"""How long a key that was refused is not asked for again, in seconds."""

MOST_KEPT: Final = 10_000
MOST_REFUSED: Final = 1_000
"""Apart from the good ones, so that made-up keys push no good one out."""

MOST_ASKED: Final = 200
"""Keys that are asked for at the same time: a flood of made-up ones does not pile up."""

TIMEOUT_MS: Final = 3_000

RETRY_MS: Final = 1_000

TOKEN = web.RequestKey("token_of_api_key", str)
"""The token that stands for the key of a request."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What auth said of a key: its token, None if it was refused, and until when that is good here (monotonic seconds)."""

    token: str | None
    until: float


class KeyExchange:
    """`BearerExchange` by auth.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secret = settings.auth_secret
        self._clock = clock
        self._auth = (
            HttpClient("auth", settings.auth_url, limits=Limits(timeout_ms=TIMEOUT_MS, body_bytes=65_536))
            if settings.auth_url
            else None
        )
        self._good: OrderedDict[str, _Known] = OrderedDict()
        self._refused: OrderedDict[str, _Known] = OrderedDict()
        self._flights: Flights[_Known] = Flights(self._keep, limit_ms=TIMEOUT_MS)

    async def token_for(self, request: web.Request) -> str | None:
        """The token for the key that a request carries; None if it carries none.

        Raises
        ------
        UnauthenticatedError
            The key is not good, or there is more than one proof.
        UnavailableError
            Auth can't be asked.
        NotConfiguredError
            There is no auth, or it does not take this gateway for a service.
        """
        if TOKEN in request:
            return request[TOKEN]
        key = _key_of(request)
        if key is None:
            return None
        if not is_key(key):
            raise _refusal()
        digest = sha256(key.encode()).hexdigest()
        known = self._known(digest)
        if known is None:
            if len(self._flights) >= MOST_ASKED:
                raise UnavailableError("too many API keys are being looked up", retry_after_ms=RETRY_MS)
            try:
                known = await self._flights.result(digest, lambda: self._ask(key))
            except MediaGatewayError as error:
                # A fresh error for each who waited: each raises it with a traceback of its own.
                raise type(error)(error.message, retry_after_ms=error.retry_after_ms) from error
        if known.token is None:
            raise _refusal()
        request[TOKEN] = known.token
        return known.token

    async def close(self) -> None:
        """Close connections to auth."""
        await self._flights.close()
        if self._auth is not None:
            await self._auth.close()

    def _known(self, digest: str) -> _Known | None:
        for kept in (self._good, self._refused):
            known = kept.get(digest)
            if known is not None and self._clock() < known.until:
                kept.move_to_end(digest)
                return known
        return None

    async def _keep(self, digest: str, known: _Known) -> bool:
        kept, most = (self._good, MOST_KEPT) if known.token else (self._refused, MOST_REFUSED)
        kept[digest] = known
        kept.move_to_end(digest)
        if len(kept) > most:
            kept.popitem(last=False)
        return True

    async def _ask(self, key: str) -> _Known:
        if self._auth is None or self._secret is None:
            missing = "AUTH_SECRET" if self._auth else "AUTH_URL"
            raise NotConfiguredError(f"API keys can't be used here: {PREFIX}{missing} is not set")
        proof = mint_internal(self._secret.get_secret_value(), "gateway")
        call = Call(
            json={"key": key},
            headers={SERVICE_TOKEN_HEADER: proof},
            repeatable=True,
            follow_redirects=False,
        )
        try:
            answer = await self._auth.request("POST", "/auth/api-keys/exchange", call)
            token, life_s = _read(answer.json())
        except UnauthenticatedError:
            return _Known(None, self._clock() + REFUSED_S)
        except PermissionDeniedError as error:
            raise NotConfiguredError(f"auth has another {PREFIX}AUTH_SECRET than the gateway") from error
        except MediaGatewayError as error:
            wait_ms = error.retry_after_ms or RETRY_MS
            raise UnavailableError(
                "auth can't be asked about the API key now", retry_after_ms=wait_ms
            ) from error
        return _Known(token, self._clock() + min(KEPT_S, life_s - MARGIN_S))


async def exchange_key(request: web.Request) -> None:
    """Exchange the key of a request, whether or not its route looks at tokens; raises as `KeyExchange.token_for`."""
    exchange = request.app.get(BEARER_EXCHANGE)
    if exchange is not None:
        await exchange.token_for(request)


def authorization_of(request: web.Request) -> dict[str, str]:
    """The header that a service gets in place of a key."""
    token = request.get(TOKEN)
    return {} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"}


def _key_of(request: web.Request) -> str | None:
    bearers = request.headers.getall(hdrs.AUTHORIZATION, ())
    keys = request.headers.getall(HEADER, ())
    if keys:
        if len(keys) > 1 or bearers:
            raise UnauthenticatedError(f"send one of {HEADER} and Authorization, and once")
        return keys[0].strip()
    if len(bearers) != 1:
        return None
    scheme, _, token = bearers[0].strip().partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.startswith(MARK) else None


def _refusal() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the API key is not valid",
        details={"challenge": 'Bearer realm="media-gateway", error="invalid_token"'},
    )


def _read(answer: Any) -> tuple[str, float]:
    try:
        return str(answer["access_token"]), float(answer["expires_in"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnavailableError("auth answered with no token") from error
