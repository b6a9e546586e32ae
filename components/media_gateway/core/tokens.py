"""Access tokens: checked the same way by every service, minted here for development only.

The claim set is RFC 9068 plus ``tier`` and ``roles``. The key decides the algorithm, never the token's header: the shared
secret verifies HS256 alone, a published RSA key RS256 alone, an Ed25519 key EdDSA alone, so that ``none`` and algorithm
confusion have nothing to hold on to.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import MediaGatewayError, NotConfiguredError, UnauthenticatedError
from media_gateway.core.http_client import HttpClient
from media_gateway.core.settings import MIN_SECRET_BYTES, CoreSettings

MAX_TOKEN_BYTES = 8_192
"""Longer tokens are refused unread: no issuer of ours makes them, and parsing costs time."""

MIN_RSA_BITS = 2_048
"""RFC 7518 section 3.3."""

LEEWAY_S = 30
"""Clock difference between issuer and verifier that is tolerated, in seconds."""

TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""RFC 9068 section 2.1: an access token names itself so; id and refresh tokens are refused by this."""

FORBIDDEN_HEADERS = frozenset({"jwk", "jku", "x5c", "x5u", "crit"})
"""Headers by which a token brings or points to its own key, or demands extensions (RFC 8725 sections 3.6 and 3.10)."""

MAX_UNIX_TIME = 253_402_300_800
"""End of the year 9999 in Unix seconds; a later expiry is no date."""

RATING_CLAIM = "content_rating_limit"
"""Claim with the strongest rating that the profile may see (``PG-13``)."""

GENRES_CLAIM = "blocked_genres"
"""Claim with the genres that the profile may not see."""

KNOWN_TOKENS = 10_000
"""Verified tokens that are remembered; the one that was not asked for longest goes first."""

KEYS_TTL_S = 300
"""How long a fetched key set is used, in seconds."""

KEYS_RETRY_S = 10
"""Least time between two fetches, so that tokens with made-up key ids can't drive traffic to the issuer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, as the token says.

    Attributes
    ----------
    subject : str
        ``sub``: the user, or the service for internal tokens.
    scopes, roles : frozenset of str
        What the token allows.
    tier : str
        Subscription tier, ``free`` when the token names none.
    expires_at : float
        Unix time in seconds.
    claims : Mapping
        All verified claims.
    """

    subject: str
    scopes: frozenset[str]
    roles: frozenset[str]
    tier: str
    expires_at: float
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Key:
    algorithm: str
    key: Any
    issuer: str


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature and claims were good; ``kid`` is that of a published key, None for the shared secret."""

    caller: Caller
    expires_at: int
    kid: str | None


class TokenVerifier:
    """Checks bearer tokens. One that was good is remembered by its SHA-256 until it expires or the issuer's keys change.

    Parameters
    ----------
    issuer, audience
        What ``iss`` must be and ``aud`` must contain.
    secret
        Shared HS256 secret, at least 32 bytes.
    jwks_url
        Address of the issuer's key set. It is fetched at first need and again when a token names an unknown key.
    jwks_issuer
        What ``iss`` of tokens signed with these keys must be, if it is not `issuer`.
    revoked
        Tokens' ``jti`` and grants' ids (``sid``) that are no good any more although they have not expired.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, each with its default
        self,
        *,
        issuer: str,
        audience: str,
        secret: str | None = None,
        jwks_url: str | None = None,
        jwks_issuer: str | None = None,
        revoked: Container[str] = frozenset(),
    ) -> None:
        if secret is not None and len(secret.encode()) < MIN_SECRET_BYTES:
            raise NotConfiguredError(
                f"MEDIA_GATEWAY_AUTH_SECRET: shorter than {MIN_SECRET_BYTES} bytes; example: the output of `openssl rand -hex 32`"
            )
        self._audience = audience
        self._secret = _Key("HS256", secret, issuer) if secret is not None else None
        self._jwks_issuer = jwks_issuer or issuer
        self._revoked = revoked
        self._known: OrderedDict[bytes, _Verified] = OrderedDict()
        self._client = HttpClient("jwks", jwks_url) if jwks_url else None
        self._keys: dict[str, _Key] = {}
        self._fetched_at = -float("inf")
        self._tried_at = -float("inf")

    @classmethod
    def from_settings(cls, settings: CoreSettings, revoked: Container[str] = frozenset()) -> Self:
        """Verifier for this process. With neither secret nor key set configured it refuses every token."""
        secret = settings.auth_secret
        return cls(
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            secret=secret.get_secret_value() if secret else None,
            jwks_url=settings.auth_jwks_url,
            jwks_issuer=settings.auth_jwks_issuer,
            revoked=revoked,
        )

    async def verify(self, token: str) -> Caller:
        """Who sent this token.

        Raises
        ------
        UnauthenticatedError
            Not a valid token of ours; the message says why in general words and never repeats the token.
        UnavailableError
            The issuer's keys were never fetched and can't be now.
        """
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise UnauthenticatedError("the token is malformed")
        digest = hashlib.sha256(token.encode()).digest()
        found = self._known.get(digest)
        if found is not None and found.kid is not None:
            await self._refresh(found.kid)
            found = self._known.get(digest)  # another key set forgets everything
        if found is None:
            found = await self._verified(token)
            self._remember(digest, found)
        else:
            self._known.move_to_end(digest)
        if found.expires_at <= time.time() - LEEWAY_S:
            del self._known[digest]
            raise UnauthenticatedError("the token is expired")
        claims = found.caller.claims
        for name in (claims.get("jti"), claims.get("sid")):
            if isinstance(name, str) and name in self._revoked:
                raise UnauthenticatedError("the token was revoked")
        return found.caller

    async def _verified(self, token: str) -> _Verified:
        header = _checked_header(token)
        key = await self._key_for(header)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=key.issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise UnauthenticatedError("the token is expired") from error
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UnauthenticatedError(f"the token is not valid: {_reason(error)}") from error
        caller = _caller(claims)
        return _Verified(caller, int(caller.expires_at), None if key is self._secret else header["kid"])

    def _remember(self, digest: bytes, found: _Verified) -> None:
        self._known[digest] = found
        if len(self._known) > KNOWN_TOKENS:
            self._known.popitem(last=False)

    def trust(self, key_set: Mapping[str, Any]) -> None:
        """Take a key set (RFC 7517) from this process: it is the issuer, and has nothing to fetch."""
        keys = _public_keys(key_set, self._jwks_issuer)
        if keys != self._keys:
            self._known.clear()
        self._keys = keys

    async def close(self) -> None:
        """Close the connection to the issuer."""
        if self._client is not None:
            await self._client.close()

    async def _key_for(self, header: Mapping[str, Any]) -> _Key:
        kid = header.get("kid")
        if isinstance(kid, str):
            await self._refresh(kid)
            if kid in self._keys:
                return self._keys[kid]
        if self._secret is not None:
            return self._secret
        raise UnauthenticatedError("the token is signed with an unknown key")

    async def _refresh(self, kid: str) -> None:
        now = time.monotonic()
        fresh = now - self._fetched_at < KEYS_TTL_S
        if self._client is None or (fresh and kid in self._keys) or now - self._tried_at < KEYS_RETRY_S:
            return
        self._tried_at = now
        try:
            answer = await self._client.request("GET", "")
            keys = _public_keys(answer.json(), self._jwks_issuer)
            if keys != self._keys:
                self._known.clear()
            self._keys = keys
            self._fetched_at = now
        except MediaGatewayError:
            # Known keys stay good while the issuer is away; only a start without any key can't go on.
            if not self._keys and self._secret is None:
                raise


def mint_token(  # noqa: PLR0913 - keyword-only claims, each with its default
    secret: str,
    subject: str,
    *,
    scopes: frozenset[str] = frozenset(),
    roles: frozenset[str] = frozenset(),
    tier: str = "free",
    ttl_s: int = 3_600,
    issuer: str = "media-gateway",
    audience: str = "media-gateway",
    more: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Sign an HS256 access token, for development and between services.

    Parameters
    ----------
    more
        Further claims, such as the limits of a profile.

    Raises
    ------
    NotConfiguredError
        The secret is shorter than 32 bytes.
    """
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise NotConfiguredError(f"the signing secret is shorter than {MIN_SECRET_BYTES} bytes")
    now = int(time.time())
    claims = {
        **more,
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": "media-gateway-cli",
        "iat": now,
        "exp": now + ttl_s,
        "jti": str(uuid7()),
        "scope": " ".join(sorted(scopes)),
        "roles": sorted(roles),
        "tier": tier,
    }
    return jwt.encode(claims, secret, algorithm="HS256", headers={"typ": "at+jwt"})


def _reason(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it lacks the claim {error.claim!r}"
    reasons: Mapping[type[Exception], str] = {
        jwt.InvalidSignatureError: "its signature is wrong",
        jwt.InvalidAlgorithmError: "it is signed with another algorithm",
        jwt.InvalidIssuerError: "it is from another issuer",
        jwt.InvalidAudienceError: "it is for another audience",
        jwt.ImmatureSignatureError: "it is not valid yet",
    }
    return next((words for kind, words in reasons.items() if isinstance(error, kind)), "it is malformed")


def _checked_header(token: str) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
        raise UnauthenticatedError("the token is malformed") from error
    if FORBIDDEN_HEADERS & header.keys():
        raise UnauthenticatedError("the token's header is not accepted")
    if str(header.get("typ", "")).lower() not in TOKEN_TYPES:
        raise UnauthenticatedError("this is not an access token")
    return header


def _public_keys(document: object, issuer: str) -> dict[str, _Key]:
    entries = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str, _Key] = {}
    for entry in entries if isinstance(entries, list) else []:
        try:
            kid, key = str(entry["kid"]), jwt.PyJWK(entry, algorithm=_algorithm(entry)).key
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            continue  # a key of a kind we don't use must not take the others away
        if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
            keys[kid] = _Key("RS256", key, issuer)
        elif isinstance(key, Ed25519PublicKey):
            keys[kid] = _Key("EdDSA", key, issuer)
    return keys


def _algorithm(entry: Mapping[str, Any]) -> str:
    return {"RSA": "RS256", "OKP": "EdDSA"}[entry["kty"]]


def _caller(claims: dict[str, Any]) -> Caller:
    subject = claims["sub"]
    roles = claims.get("roles", [])
    scope = claims.get("scope", "")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise UnauthenticatedError("the token's subject is not valid")
    if (
        not isinstance(scope, str)
        or not isinstance(roles, list)
        or not all(isinstance(r, str) for r in roles)
    ):
        raise UnauthenticatedError("the token's scope or roles are not valid")
    expires_at = claims["exp"]
    if not isinstance(expires_at, int | float) or not 0 < expires_at < MAX_UNIX_TIME:
        raise UnauthenticatedError("the token's expiry is not valid")
    return Caller(
        subject=subject,
        scopes=frozenset(scope.split()),
        roles=frozenset(cast("list[str]", roles)),
        tier=str(claims.get("tier", "free")),
        expires_at=float(expires_at),
        claims=MappingProxyType(claims),
    )
