"""Access and id tokens: their claims and signatures (RFC 9068; OpenID Connect Core section 2)."""

import time
from dataclasses import dataclass
from typing import Any, Final

import jwt

from media_gateway.auth.actors import API_KEY_CLIENT
from media_gateway.auth.granting import Grant
from media_gateway.auth.keys import SigningKeys
from media_gateway.auth.subjects import Subject
from media_gateway.core.domain.ids import uuid7
from media_gateway.core.tokens import GENRES_CLAIM, LEEWAY_S, RATING_CLAIM

OPENID: Final = "openid"


@dataclass(frozen=True, slots=True, kw_only=True)
class MintRules:
    """What all tokens of this installation share.

    Attributes
    ----------
    issuer : str
        ``iss`` of tokens signed with published keys, and of every id token: the address of auth.
    shared_issuer : str
        ``iss`` of access tokens signed with the shared secret.
    audience : str
        ``aud`` of access tokens for the platform.
    """

    issuer: str
    shared_issuer: str
    audience: str


class Mint:
    """Signs tokens, and reads its own again."""

    def __init__(self, keys: SigningKeys, rules: MintRules) -> None:
        self._keys = keys
        self._rules = rules
        self._access_issuer = rules.issuer if keys.are_published else rules.shared_issuer

    @property
    def issues_id_tokens(self) -> bool:
        """Whether programs could check an id token: they do not have the shared secret."""
        return self._keys.are_published

    def access_token(self, grant: Grant, *, scopes: frozenset[str], life_s: int) -> str:
        """An access token of a person for a program."""
        subject = grant.subject
        claims: dict[str, Any] = {
            "sub": str(subject.user_id),
            "client_id": grant.client_id,
            "sid": str(grant.grant_id),
            "roles": sorted(subject.roles),
            "tier": subject.tier,
        }
        if subject.content_rating_limit is not None:
            claims[RATING_CLAIM] = subject.content_rating_limit
        if subject.blocked_genres:
            claims[GENRES_CLAIM] = list(subject.blocked_genres)
        if grant.client_id == API_KEY_CLIENT:
            claims["via"] = "api_key"
        if grant.signed_in_at is not None:
            claims["auth_time"] = int(grant.signed_in_at)
        return self._access(claims, scopes, grant.resource, life_s)

    def service_token(
        self, client_id: str, *, scopes: frozenset[str], resource: str | None, life_s: int
    ) -> str:
        """An access token of a program for itself: it is the subject (RFC 9068 section 2.2)."""
        claims = {"sub": client_id, "client_id": client_id, "roles": ["service"], "tier": "enterprise"}
        return self._access(claims, scopes, resource, life_s)

    def id_token(self, grant: Grant, *, scopes: frozenset[str], life_s: int) -> str | None:
        """Who signed in, for the program itself; None unless it asked with ``openid`` and could check it."""
        if OPENID not in scopes or not self.issues_id_tokens:
            return None
        now = int(time.time())
        claims = {
            **identity(grant.subject, scopes),
            "iss": self._rules.issuer,
            "aud": grant.client_id,
            "iat": now,
            "exp": now + life_s,
            "sid": str(grant.grant_id),
        }
        if grant.nonce is not None:
            claims["nonce"] = grant.nonce
        if grant.signed_in_at is not None:
            claims["auth_time"] = int(grant.signed_in_at)
        return self._signed(claims, "JWT")

    def read_access(self, token: str) -> dict[str, Any] | None:
        """The claims of an access token of ours, whoever it is for; None for anything else and for an expired one."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.find(header.get("kid"))
            if key is None or header.get("typ") != "at+jwt":
                return None
            public = key.key if key.algorithm == "HS256" else key.key.public_key()
            claims: dict[str, Any] = jwt.decode(
                token,
                public,
                algorithms=[key.algorithm],
                issuer=self._access_issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "jti"], "verify_aud": False},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        return claims

    def _access(
        self, claims: dict[str, Any], scopes: frozenset[str], resource: str | None, life_s: int
    ) -> str:
        now = int(time.time())
        everywhere = {
            "iss": self._access_issuer,
            "aud": resource or self._rules.audience,
            "iat": now,
            "exp": now + life_s,
            "jti": str(uuid7()),
            "scope": " ".join(sorted(scopes)),
        }
        return self._signed({**claims, **everywhere}, "at+jwt")

    def _signed(self, claims: dict[str, Any], kind: str) -> str:
        key = self._keys.current()
        headers = {"typ": kind} if key.kid is None else {"typ": kind, "kid": key.kid}
        return jwt.encode(claims, key.key, algorithm=key.algorithm, headers=headers)


def identity(subject: Subject, scopes: frozenset[str]) -> dict[str, Any]:
    """Claims about a person that scopes open (OpenID Connect Core section 5.4)."""
    claims: dict[str, Any] = {"sub": str(subject.user_id)}
    if "profile" in scopes:
        claims["name"] = subject.display_name
    if "email" in scopes:
        claims |= {"email": subject.email, "email_verified": subject.email_verified}
    return claims
