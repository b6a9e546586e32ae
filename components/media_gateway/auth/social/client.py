"""Calls to a provider: its failures in words for the person who waits, and the secret that it knows us by."""

import base64
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import structlog

from media_gateway.auth.social.asking import Asking, ProviderAwayError, ProviderRefusedError
from media_gateway.auth.social.providers import ProviderConfig
from media_gateway.core.errors import (
    InvalidInputError,
    MediaGatewayError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from media_gateway.core.http_client import Call, HttpClient, Limits

SIGNED_SECRET_S = 300
"""Life of a secret signed for one call, in seconds; Apple allows six months."""

_log = structlog.get_logger(__name__)


class ProviderClient:
    """Connections to one provider."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self._http = HttpClient(
            config.name, "", limits=Limits(timeout_ms=5_000, body_bytes=1 << 20, connections=10)
        )

    async def read(self, address: str, headers: Mapping[str, str] | None = None) -> Any:
        """A JSON document of the provider.

        Raises
        ------
        ProviderAwayError
            There is none to be had.
        """
        call = Call(headers={"Accept": "application/json", **(headers or {})}, follow_redirects=False)
        try:
            return (await self._http.request("GET", address, call)).json()
        except MediaGatewayError as error:
            raise self.away(error.message) from error

    async def redeem(self, token_endpoint: str, code: str, asking: Asking, *, basic: bool) -> dict[str, Any]:
        """The tokens of a code (RFC 6749 section 4.1.3).

        Raises
        ------
        ProviderRefusedError
            The code is good for none.
        ProviderAwayError
            The provider can't be asked.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": asking.redirect_uri,
            "code_verifier": asking.verifier,
        }
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if basic:
            # RFC 6749 section 2.3.1: both halves are form-encoded first.
            pair = f"{quote(self.config.client_id, safe='')}:{quote(self._secret(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.config.client_id, "client_secret": self._secret()}
        call = Call(headers=headers, data=urlencode(form).encode(), follow_redirects=False)
        try:
            answer = (await self._http.request("POST", token_endpoint, call)).json()
        except (InvalidInputError, UnauthenticatedError, PermissionDeniedError) as error:
            raise self.refused(error.message) from error
        except MediaGatewayError as error:
            raise self.away(error.message) from error
        if not isinstance(answer, dict) or "error" in answer:
            raise self.refused("the code was not redeemed")
        return answer

    def refused(self, why: str) -> ProviderRefusedError:
        """The error for a sign-in that is not confirmed; why goes to the log, since it helps nobody at the page."""
        _log.warning("a provider's answer was not accepted", provider=self.config.name, reason=why)
        return ProviderRefusedError(f"{self.config.title} did not confirm the sign-in. Please begin again.")

    def away(self, why: str) -> ProviderAwayError:
        """The error for a provider that can't be asked."""
        _log.warning("a provider can't be asked", provider=self.config.name, reason=why)
        return ProviderAwayError(
            f"{self.config.title} can't be reached at the moment. Please try again soon."
        )

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    def _secret(self) -> str:
        config = self.config
        if config.client_secret is not None:
            return config.client_secret.get_secret_value()
        assert config.private_key is not None
        now = int(time.time())
        claims = {
            "iss": config.team_id,
            "sub": config.client_id,
            "aud": config.issuer,
            "iat": now,
            "exp": now + SIGNED_SECRET_S,
        }
        key = config.private_key.get_secret_value()
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": config.key_id})
