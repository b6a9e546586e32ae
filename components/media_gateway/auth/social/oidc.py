"""OpenID providers (OpenID Connect Core 1.0, code flow): Google, Apple, and any other that publishes its endpoints."""

import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from media_gateway.auth.social.asking import Asking, Claimed
from media_gateway.auth.social.client import ProviderClient
from media_gateway.auth.social.providers import SAFE_ADDRESS, ProviderConfig
from media_gateway.core.tokens import LEEWAY_S, MAX_TOKEN_BYTES, MIN_RSA_BITS

KEPT_S: Final = 3_600.0
"""How long endpoints are used before they are looked up again, in seconds."""

KEYS_RETRY_S: Final = 10.0
"""Least time between two fetches of a key set, in seconds: made-up key ids drive no traffic."""

MAX_ID: Final = 255
"""OpenID Connect Core section 2: longest ``sub``."""

_SAFE = re.compile(SAFE_ADDRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoints:
    authorization: str
    token: str
    keys: str
    basic: bool


class OidcProvider:
    """`SocialProvider` that signs who somebody is."""

    def __init__(self, config: ProviderConfig) -> None:
        assert config.issuer is not None
        self._config = config
        self._issuer = config.issuer
        self._client = ProviderClient(config)
        self._endpoints: _Endpoints | None = None
        self._looked_up_at = 0.0
        self._keys: list[dict[str, Any]] = []
        self._keys_tried_at = -float("inf")

    @property
    def name(self) -> str:
        """Its name in addresses."""
        return self._config.name

    @property
    def title(self) -> str:
        """Its name among people."""
        return self._config.title

    @property
    def posts_back(self) -> bool:
        """Whether it sends the browser back with a form."""
        return self._config.response_mode == "form_post"

    async def address(self, asking: Asking) -> str:
        """Where the browser is sent; raises ProviderAwayError."""
        endpoints = await self._found()
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": asking.redirect_uri,
            "scope": " ".join(self._config.scopes),
            "state": asking.state,
            "nonce": asking.nonce,
            "code_challenge": asking.challenge,
            "code_challenge_method": "S256",
        }
        if self.posts_back:
            query["response_mode"] = "form_post"
        return f"{endpoints.authorization}?{urlencode(query)}"

    async def person(self, code: str, asking: Asking) -> Claimed:
        """Who it is; raises ProviderRefusedError, ProviderAwayError."""
        endpoints = await self._found()
        answer = await self._client.redeem(endpoints.token, code, asking, basic=endpoints.basic)
        claims = await self._verified(str(answer.get("id_token", "")), endpoints)
        nonce = str(claims.get("nonce", ""))
        if not hmac.compare_digest(nonce.encode(), asking.nonce.encode()):
            raise self._client.refused("the id token is of another sign-in")
        return self._claimed(claims)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    def _claimed(self, claims: Mapping[str, Any]) -> Claimed:
        names = self._config.claims
        person_id, email = claims.get(names.id), claims.get(names.email)
        if not isinstance(person_id, str) or not 0 < len(person_id) <= MAX_ID:
            raise self._client.refused(f"the id token has no {names.id}")
        verified = claims.get(names.email_verified)
        return Claimed(
            id=person_id,
            email=email if isinstance(email, str) else None,
            # Apple writes the word.
            email_verified=verified is True or verified == "true",
            name=str(claims.get(names.name) or ""),
        )

    async def _verified(self, token: str, endpoints: _Endpoints) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise self._client.refused("the id token is malformed")
        try:
            key = await self._key_of(jwt.get_unverified_header(token).get("kid"), endpoints)
            algorithm = _algorithm_of(key)
            if algorithm is None:
                raise self._client.refused("the id token is signed with an unknown key")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._config.client_id,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise self._client.refused(f"the id token is not valid: {type(error).__name__}") from error
        # OpenID Connect Core section 3.1.3.7, rules 4 and 5.
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != self._config.client_id:
            raise self._client.refused("the id token was made for another client")
        return claims

    async def _key_of(self, kid: object, endpoints: _Endpoints) -> Any:
        found = _chosen(self._keys, kid)
        if found is None and time.monotonic() - self._keys_tried_at >= KEYS_RETRY_S:
            self._keys_tried_at = time.monotonic()
            document = await self._client.read(endpoints.keys)
            keys = document.get("keys") if isinstance(document, dict) else None
            self._keys = [one for one in keys if isinstance(one, dict)] if isinstance(keys, list) else []
            found = _chosen(self._keys, kid)
        return jwt.PyJWK(found).key if found is not None else None

    async def _found(self) -> _Endpoints:
        config = self._config
        if config.token_endpoint and config.authorization_endpoint and config.jwks_uri:
            return _Endpoints(
                authorization=config.authorization_endpoint,
                token=config.token_endpoint,
                keys=config.jwks_uri,
                basic=config.client_authentication == "basic",
            )
        if self._endpoints is None or time.monotonic() - self._looked_up_at > KEPT_S:
            self._endpoints = await self._looked_up()
            self._looked_up_at = time.monotonic()
        return self._endpoints

    async def _looked_up(self) -> _Endpoints:
        document = await self._client.read(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        # OpenID Connect Discovery section 4.3: the issuer must name itself.
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise self._client.away("its configuration is of another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        authorization, token, keys = (str(document.get(name, "")) for name in names)
        if not all(map(_SAFE.match, (authorization, token, keys))):
            raise self._client.away("its configuration lacks an endpoint")
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic = self._config.client_authentication == "basic" or (
            self._config.client_authentication is None and "client_secret_post" not in methods
        )
        return _Endpoints(authorization=authorization, token=token, keys=keys, basic=basic)


def _chosen(keys: list[dict[str, Any]], kid: object) -> dict[str, Any] | None:
    signing = [key for key in keys if key.get("use", "sig") == "sig"]
    if kid is None:
        return signing[0] if len(signing) == 1 else None
    return next((key for key in signing if key.get("kid") == kid), None)


def _algorithm_of(key: object) -> str | None:
    """The one algorithm of a key: the token's header does not choose (RFC 8725 section 3.1)."""
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return None
