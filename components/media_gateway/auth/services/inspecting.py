"""Tokens looked at (RFC 7662) and taken back (RFC 7009) by programs."""

from typing import Any, Protocol

from media_gateway.auth.actors import API_KEY_CLIENT, as_uuid
from media_gateway.auth.clients import Client, digest_of
from media_gateway.auth.services.issuing import Issuer, Revocations
from media_gateway.auth.services.minting import Mint
from media_gateway.auth.store import grants as store
from media_gateway.auth.store.grants import KeptRefresh
from media_gateway.core.adapters.postgres import Database


class Revoked(Revocations, Protocol):
    """What has ended early, as this process knows it."""

    def __contains__(self, name: object) -> bool:
        """Whether tokens with this ``jti`` or ``sid`` are refused."""


class Inspecting:
    """Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    def __init__(self, database: Database, mint: Mint, issuer: Issuer, revoked: Revoked) -> None:
        self._database = database
        self._mint = mint
        self._issuer = issuer
        self._revoked = revoked

    async def revoke(self, client: Client, token: str) -> None:
        """End a token of this client; one that is unknown or another's is left alone, and nobody learns which.

        With a refresh token everything of its grant ends, with an access token that token alone.
        """
        kept = await self._refresh(token)
        if kept is not None:
            if kept.client_id == client.client_id:
                await self._issuer.revoke(kept.grant_id, reason="revoked by the client")
            return
        claims = self._mint.read_access(token)
        if claims is not None and claims.get("client_id") == client.client_id:
            await self._revoked.add(str(claims["jti"]), float(claims["exp"]))

    async def inspect(self, client: Client, token: str) -> dict[str, Any]:
        """What a token is good for, in RFC 7662's members; ``{"active": False}`` and nothing else for any that is not good.

        A client sees its own refresh tokens, and any access token: it may be whom they are shown to.
        """
        claims = self._mint.read_access(token)
        if claims is not None:
            return await self._access(claims)
        kept = await self._refresh(token)
        good = (
            kept is not None
            and kept.client_id == client.client_id
            and kept.spent_s is None
            and not kept.is_revoked
            and not kept.is_expired
        )
        if kept is None or not good:
            return {"active": False}
        return {
            "active": True,
            "token_type": "refresh_token",
            "client_id": kept.client_id,
            "sub": str(kept.user_id),
            "scope": " ".join(sorted(kept.scopes)),
            "iat": int(kept.created_at),
            "exp": int(kept.expires_at),
        }

    async def _access(self, claims: dict[str, Any]) -> dict[str, Any]:
        grant_id = as_uuid(claims.get("sid"))
        ended = claims["jti"] in self._revoked or (claims.get("sid") or "") in self._revoked
        # Tokens made for API keys have no grant, and live for minutes.
        if not ended and grant_id is not None and claims["client_id"] != API_KEY_CLIENT:
            async with self._database.transaction() as connection:
                ended = not await store.is_live(connection, grant_id)
        if ended:
            return {"active": False}
        names = ("iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp")
        return {"active": True, "token_type": "Bearer", **{n: claims[n] for n in names if n in claims}}

    async def _refresh(self, token: str) -> KeptRefresh | None:
        async with self._database.transaction() as connection:
            return await store.find_refresh(connection, digest_of(token), lock=False)
