"""The token endpoint's own grants: authorization code with PKCE, refresh token with rotation, client credentials."""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

import structlog

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.clients import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    REFRESH_TOKEN,
    Client,
    digest_of,
)
from media_gateway.auth.granting import Grant, TokenPair
from media_gateway.auth.oauth_errors import OAuthError
from media_gateway.auth.sealing import Seal
from media_gateway.auth.services.issuing import (
    Issuer,
    Lives,
    count_issued,
    new_refresh_token,
    successor_key,
)
from media_gateway.auth.services.minting import Mint
from media_gateway.auth.store import grants as store
from media_gateway.auth.store.audit import add_entry
from media_gateway.auth.store.grants import KeptCode, KeptRefresh, Rotation
from media_gateway.auth.subjects import Subject
from media_gateway.core.adapters.postgres import AsyncConnection, Database

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
"""RFC 7636 section 4.1."""

_NOT_GOOD = "it is not known, was used, has expired, or is another client's"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemingParts:
    """What `Redeeming` works with.

    Attributes
    ----------
    find_subject : callable
        Looks a person up on the connection of the transaction: a second one for each request could use up the pool.
    check_resource : callable
        Gives the audience for a resource that was asked for, or raises `OAuthError` (RFC 8707).
    """

    database: Database
    issuer: Issuer
    mint: Mint
    find_subject: Callable[[AsyncConnection, UUID], Awaitable[Subject | None]]
    lives: Lives
    check_resource: Callable[[str | None], str | None]


class Redeeming:
    """Turns what a program holds into tokens.

    Every method raises UnavailableError or DeadlineExceededError if a server is away, and then nothing has changed.
    """

    def __init__(self, parts: RedeemingParts) -> None:
        self._database = parts.database
        self._issuer = parts.issuer
        self._mint = parts.mint
        self._find_subject = parts.find_subject
        self._lives = parts.lives
        self._check_resource = parts.check_resource

    async def code(
        self,
        client: Client,
        *,
        code: str,
        redirect_uri: str | None,
        verifier: str | None,
        resource: str | None,
    ) -> TokenPair:
        """Tokens for an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

        Raises
        ------
        OAuthError
            ``unauthorized_client``, ``invalid_request``, ``invalid_grant`` or ``invalid_target``.
        """
        _check_grant_type(client, AUTHORIZATION_CODE)
        if verifier is None or not _VERIFIER.fullmatch(verifier):
            raise OAuthError("invalid_request", "code_verifier: 43 to 128 unreserved characters are needed")
        digest, reused = digest_of(code), None
        pair: TokenPair | None = None
        async with self._database.transaction() as connection:
            kept = await store.lock_code(connection, digest)
            if kept is None or kept.client_id != client.client_id:
                raise OAuthError("invalid_grant", f"code: {_NOT_GOOD}")
            if kept.is_redeemed:
                reused = kept.grant_id
            else:
                _check_code(kept, redirect_uri, verifier)
                wanted = self._check_resource(resource) if resource is not None else kept.resource
                if kept.resource is not None and wanted != kept.resource:
                    raise OAuthError("invalid_target", "resource: not the one that was allowed")
                grant = await self._grant_of(connection, kept, client, resource=wanted)
                await store.redeem_code(connection, digest)
                pair = await self._issuer.issue_within(connection, grant, client)
        if reused is not None:
            # Somebody else may hold the code: whoever came first loses the tokens, too (RFC 6749 section 10.5).
            await self._issuer.revoke(reused, reason="the authorization code was used again")
            raise OAuthError("invalid_grant", f"code: {_NOT_GOOD}")
        assert pair is not None
        count_issued(AUTHORIZATION_CODE)
        return pair

    async def refresh(
        self, client: Client, *, token: str, scope: str | None, resource: str | None
    ) -> TokenPair:
        """Tokens for a refresh token, which is spent by it (RFC 6749 section 6, RFC 9700 section 4.14).

        Raises
        ------
        OAuthError
            ``unauthorized_client``, ``invalid_grant``, ``invalid_scope`` or ``invalid_target``. A spent token ends all tokens
            of its grant, unless its leeway lasts.
        """
        _check_grant_type(client, REFRESH_TOKEN)
        digest, stolen = digest_of(token), None
        pair: TokenPair | None = None
        async with self._database.transaction() as connection:
            kept = await store.find_refresh(connection, digest, lock=True)
            if kept is None or kept.client_id != client.client_id or kept.is_revoked:
                raise OAuthError("invalid_grant", f"refresh_token: {_NOT_GOOD}")
            if kept.spent_s is not None and not self._is_forgiven(client, kept.spent_s):
                stolen = kept.grant_id
                await store.revoke_grant(connection, stolen, reason="a refresh token was used again")
                await add_entry(connection, _reuse(kept))
            elif kept.is_expired:
                raise OAuthError("invalid_grant", f"refresh_token: {_NOT_GOOD}")
            else:
                if resource is not None and self._check_resource(resource) != kept.resource:
                    raise OAuthError("invalid_target", "resource: not the one that was allowed")
                grant = await self._grant_of(connection, kept, client, resource=kept.resource)
                scopes = _narrowed(grant.scopes, scope)
                successor = await self._successor(connection, client, kept, token)
                pair = self._issuer.pair(grant, client, refresh=successor, scopes=scopes)
        if stolen is not None:
            _log.warning("a refresh token was used again; its grant ends", client_id=client.client_id)
            await self._issuer.announce([stolen])
            raise OAuthError("invalid_grant", f"refresh_token: {_NOT_GOOD}")
        assert pair is not None
        count_issued(REFRESH_TOKEN)
        return pair

    async def client_credentials(
        self, client: Client, *, scope: str | None, resource: str | None
    ) -> TokenPair:
        """An access token of a program for itself (RFC 6749 section 4.4).

        Raises
        ------
        OAuthError
            ``unauthorized_client``, ``invalid_scope`` or ``invalid_target``.
        """
        _check_grant_type(client, CLIENT_CREDENTIALS)
        if client.is_public:
            raise OAuthError(
                "unauthorized_client", "a public client proves nothing, so it gets no such token"
            )
        scopes = _narrowed(client.scopes, scope)
        life_s = self._lives.access(client)
        token = self._mint.service_token(
            client.client_id, scopes=scopes, resource=self._check_resource(resource), life_s=life_s
        )
        count_issued(CLIENT_CREDENTIALS)
        scope = " ".join(sorted(scopes))
        return TokenPair(access_token=token, refresh_token=None, expires_in=life_s, scope=scope)

    def _is_forgiven(self, client: Client, spent_s: float) -> bool:
        leeway_s = self._lives.leeway(client)
        return leeway_s > 0 and spent_s <= leeway_s

    async def _successor(
        self, connection: AsyncConnection, client: Client, kept: KeptRefresh, token: str
    ) -> str:
        seal, owner = Seal(successor_key(token)), kept.grant_id.bytes
        if kept.spent_s is not None and kept.successor is not None:
            return seal.opened(kept.successor, owner=owner).decode()
        successor, life_s = new_refresh_token(), self._lives.refresh(client)
        sealed = seal.closed(successor.encode(), owner=owner)
        rotation = Rotation(
            grant_id=kept.grant_id,
            digest=digest_of(token),
            successor=digest_of(successor),
            sealed=sealed,
            life_s=life_s,
        )
        await store.rotate_refresh(connection, rotation)
        return successor

    async def _grant_of(
        self,
        connection: AsyncConnection,
        kept: KeptCode | KeptRefresh,
        client: Client,
        *,
        resource: str | None,
    ) -> Grant:
        # Read anew: the account may have been locked, and the client limited, since the person agreed.
        subject = await self._find_subject(connection, kept.user_id)
        if subject is None or not subject.enabled:
            raise OAuthError("invalid_grant", "the account is locked or gone")
        return Grant(
            grant_id=kept.grant_id,
            client_id=client.client_id,
            subject=subject,
            scopes=kept.scopes & subject.scopes & client.scopes,
            resource=resource,
            nonce=kept.nonce,
            signed_in_at=kept.signed_in_at,
        )


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _check_code(kept: KeptCode, redirect_uri: str | None, verifier: str) -> None:
    if kept.is_expired:
        raise OAuthError("invalid_grant", f"code: {_NOT_GOOD}")
    if redirect_uri != kept.redirect_uri:
        raise OAuthError("invalid_grant", "redirect_uri: not the one of the authorization request")
    if not hmac.compare_digest(challenge_of(verifier).encode(), kept.challenge.encode()):
        raise OAuthError("invalid_grant", "code_verifier: it does not fit the challenge")


def _check_grant_type(client: Client, grant_type: str) -> None:
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", f"this client may not use the grant type {grant_type}")


def _narrowed(allowed: frozenset[str], asked: str | None) -> frozenset[str]:
    scopes = allowed if asked is None else frozenset(asked.split())
    if not scopes <= allowed:
        raise OAuthError("invalid_scope", "scope: more than was allowed")
    return scopes


def _reuse(kept: KeptRefresh) -> AuditEntry:
    return AuditEntry(
        action="refresh_token.reused",
        resource_type="grant",
        resource_id=str(kept.grant_id),
        user_id=kept.user_id,
        details={"client_id": kept.client_id, "spent_s": round(kept.spent_s or 0.0, 1)},
    )
