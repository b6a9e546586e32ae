"""Tokens made and taken back: the end of every way of signing in."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol
from uuid import UUID

from prometheus_client import Counter

from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.clients import REFRESH_TOKEN, Client, digest_of
from media_gateway.auth.granting import FIRST_PARTY, Grant, TokenPair
from media_gateway.auth.oauth_errors import OAuthError
from media_gateway.auth.services.minting import Mint
from media_gateway.auth.store import grants as store
from media_gateway.auth.store.audit import add_entry
from media_gateway.core.adapters.postgres import AsyncConnection, Database

REFRESH_BYTES: Final = 32
"""Random bytes of a refresh token: beyond guessing, so that a fast digest is enough to keep it."""

_issued = Counter("mgw_tokens_issued_total", "Token answers, by how they were asked for", ["grant_type"])
_revoked = Counter("mgw_grants_revoked_total", "Grants ended before their time")


class ClientLookup(Protocol):
    """Where programs are found."""

    async def find(self, client_id: str) -> Client | None:
        """The program; None for one that is not registered."""


class Revocations(Protocol):
    """Tells every service of tokens that end early."""

    async def add(self, name: str, until: float) -> None:
        """Refuse tokens with this ``jti`` or ``sid`` until a Unix time in seconds, when the last of them has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """How long tokens last, in seconds; programs may have their own."""

    access_s: int
    refresh_s: int
    leeway_s: float

    def access(self, client: Client | None) -> int:
        """Of an access token."""
        return (client.access_token_s if client else None) or self.access_s

    def refresh(self, client: Client | None) -> int:
        """Of a refresh token that is not used."""
        return (client.refresh_token_s if client else None) or self.refresh_s

    def leeway(self, client: Client) -> float:
        """For how long a spent refresh token gives the same successor again."""
        return self.leeway_s if client.refresh_leeway_s is None else client.refresh_leeway_s


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerParts:
    """What `Issuer` works with."""

    database: Database
    mint: Mint
    clients: ClientLookup
    revocations: Revocations
    lives: Lives


class Issuer:
    """`TokenIssuer` of this installation."""

    def __init__(self, parts: IssuerParts) -> None:
        self._database = parts.database
        self._mint = parts.mint
        self._clients = parts.clients
        self._revocations = parts.revocations
        self._lives = parts.lives

    async def issue(self, grant: Grant) -> TokenPair:
        """Tokens for a grant.

        Raises
        ------
        OAuthError
            ``invalid_grant``: it was revoked before.
        """
        client = await self._clients.find(grant.client_id)
        async with self._database.transaction() as connection:
            pair = await self.issue_within(connection, grant, client)
        count_issued("device" if grant.client_id != FIRST_PARTY else "password")
        return pair

    async def issue_within(
        self, connection: AsyncConnection, grant: Grant, client: Client | None
    ) -> TokenPair:
        """As `issue`, as a part of what the transaction does."""
        # Who signs in at the API itself has no registered program, and stays signed in all the same.
        refreshes = client is None or REFRESH_TOKEN in client.grant_types
        life_s = self._lives.refresh(client) if refreshes else self._lives.access(client)
        if not await store.open_grant(connection, grant, life_s=life_s):
            raise OAuthError("invalid_grant", "the grant was revoked")
        refresh = None
        if refreshes:
            refresh = new_refresh_token()
            await store.add_refresh(connection, grant.grant_id, digest_of(refresh), life_s=life_s)
        return self.pair(grant, client, refresh=refresh)

    def pair(
        self,
        grant: Grant,
        client: Client | None,
        *,
        refresh: str | None,
        scopes: frozenset[str] | None = None,
    ) -> TokenPair:
        """Signed tokens; nothing is kept."""
        scopes = grant.scopes if scopes is None else scopes
        life_s = self._lives.access(client)
        return TokenPair(
            access_token=self._mint.access_token(grant, scopes=scopes, life_s=life_s),
            refresh_token=refresh,
            expires_in=life_s,
            scope=" ".join(sorted(scopes)),
            id_token=self._mint.id_token(grant, scopes=scopes, life_s=life_s),
        )

    async def access(self, grant: Grant, *, life_s: int) -> TokenPair:
        """An access token alone; nothing is kept of it."""
        life_s = min(life_s, self._lives.access_s)
        token = self._mint.access_token(grant, scopes=grant.scopes, life_s=life_s)
        scope = " ".join(sorted(grant.scopes))
        return TokenPair(access_token=token, refresh_token=None, expires_in=life_s, scope=scope)

    async def revoke(self, grant_id: UUID, *, reason: str) -> None:
        """End every token of a grant."""
        async with self._database.transaction() as connection:
            entry = _revocation(grant_id, reason)
            if await store.revoke_grant(connection, grant_id, reason=reason):
                await add_entry(connection, entry)
        # Also if it had ended: the last time, Redis may have been away at this point.
        await self.announce([grant_id])

    async def revoke_all(self, user_id: UUID, *, reason: str) -> None:
        """End every token of a person."""
        async with self._database.transaction() as connection:
            ended = await store.revoke_grants(connection, user_id, reason=reason)
            for grant_id in ended:
                await add_entry(connection, _revocation(grant_id, reason, user_id=user_id))
        await self.announce(ended)

    async def announce(self, grant_ids: Iterable[UUID]) -> None:
        """Let every service refuse the access tokens of grants that have ended."""
        until = time.time() + self._lives.access_s * 2
        for grant_id in grant_ids:
            _revoked.inc()
            await self._revocations.add(str(grant_id), until)


def new_refresh_token() -> str:
    """Random, and recognisable as a secret of ours."""
    return f"mgr_{secrets.token_urlsafe(REFRESH_BYTES)}"


def successor_key(refresh_token: str) -> bytes:
    """Key (32 bytes) under which the successor of a refresh token is kept: only who holds the token can make it."""
    return sha256(b"successor of\0" + refresh_token.encode(errors="replace")).digest()


def count_issued(grant_type: str) -> None:
    """Count a token answer."""
    _issued.labels(grant_type).inc()


def _revocation(grant_id: UUID, reason: str, **more: Any) -> AuditEntry:
    return AuditEntry(
        action="grant.revoked",
        resource_type="grant",
        resource_id=str(grant_id),
        details={"reason": reason},
        **more,
    )
