"""What every way of signing in ends with: a grant, and the tokens made for it."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from media_gateway.auth.subjects import Subject

FIRST_PARTY = "media-gateway"
"""Client of those who sign in with e-mail and password at the API itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What tokens are to be made for.

    Attributes
    ----------
    grant_id : UUID
        Under which all of its tokens can be revoked; ``sid`` of the tokens.
    scopes : frozenset of str
        What they allow: no more than the person, and the client, may have.
    resource : str | None
        Whom the access token is for (RFC 8707); None for the platform.
    nonce : str | None
        Repeated in the id token (OpenID Connect Core section 3.1.2.1).
    signed_in_at : float | None
        Unix time in seconds at which the person last proved who they are, if it is known.
    """

    grant_id: UUID
    client_id: str
    subject: Subject
    scopes: frozenset[str]
    resource: str | None = None
    nonce: str | None = None
    signed_in_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """Tokens as the answer tells them; ``expires_in`` in seconds."""

    access_token: str
    refresh_token: str | None
    expires_in: int
    scope: str
    id_token: str | None = None


class TokenIssuer(Protocol):
    """Makes tokens and takes them back. Every method raises UnavailableError or DeadlineExceededError if a server is away."""

    async def issue(self, grant: Grant) -> TokenPair:
        """Tokens for a grant. May be called again for the same grant, if the first answer got lost inside."""

    async def access(self, grant: Grant, *, life_s: int) -> TokenPair:
        """An access token alone, good for so many seconds at most; nothing is kept of it."""

    async def revoke(self, grant_id: UUID, *, reason: str) -> None:
        """End every token of a grant; nothing happens if there is none."""

    async def revoke_all(self, user_id: UUID, *, reason: str) -> None:
        """End every token of a person: the password was changed, or the account is locked or gone."""
