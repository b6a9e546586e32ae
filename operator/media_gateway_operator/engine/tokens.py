"""Who a job pod is: its projected token, checked against the API server's key set.

Used by the progress door. The keys are fetched once and again for an unknown key id; nothing is asked of the API server
for a token that is known to be good.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from media_gateway.core.errors import MediaGatewayError, UnauthenticatedError
from media_gateway_operator.kube.client import KubeClient

AUDIENCE: Final = "media-gateway-operator"
KEYS_PATH: Final = "/openid/v1/jwks"
REFETCH_S: Final = 10.0
"""The key set is fetched at most so often for unknown keys, in seconds: tokens are made by whoever calls."""

_ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256"]


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod that a token was made for."""

    namespace: str
    name: str
    uid: str


class PodTokens:
    """Checks tokens."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._keys: dict[str, Any] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def identify(self, token: str) -> PodIdentity:
        """The pod of a token.

        Raises
        ------
        UnauthenticatedError
            The token is not of this cluster, not for us, too old, or not bound to a pod.
        UnavailableError
            The keys can't be fetched now.
        """
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims = jwt.decode(
                token,
                key=key,
                algorithms=_ALGORITHMS,
                audience=AUDIENCE,
                leeway=10,
                options={"require": ["exp", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(f"the token is not accepted ({type(error).__name__})") from error
        return _pod(claims)

    async def _key(self, kid: str) -> Any:
        if kid not in self._keys:
            async with self._fetching:
                if kid not in self._keys and time.monotonic() - self._fetched_at > REFETCH_S:
                    document = await self._client.read(KEYS_PATH)
                    self._keys = _usable(document)
                    self._fetched_at = time.monotonic()
        try:
            return self._keys[kid]
        except KeyError:
            raise UnauthenticatedError(
                "the token is signed by a key that the API server doesn't know"
            ) from None


def _usable(document: Mapping[str, Any]) -> dict[str, Any]:
    keys = {}
    for one in document.get("keys", ()):
        try:
            keys[str(one.get("kid", ""))] = jwt.PyJWK(one).key
        except (jwt.PyJWTError, ValueError):
            continue  # of a kind that this library doesn't know; others may do
    if not keys:
        raise MediaGatewayError("the API server's key set has no key that can be used")
    return keys


def _pod(claims: Mapping[str, Any]) -> PodIdentity:
    bound = claims.get("kubernetes.io")
    pod = bound.get("pod") if isinstance(bound, dict) else None
    if not isinstance(bound, dict) or not isinstance(pod, dict):
        raise UnauthenticatedError("the token is not bound to a pod; mount a projected service account token")
    return PodIdentity(str(bound.get("namespace", "")), str(pod.get("name", "")), str(pod.get("uid", "")))
