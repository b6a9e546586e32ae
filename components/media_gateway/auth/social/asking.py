"""What every provider is asked, what it says of a person, and how that can fail."""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from media_gateway.core.errors import PermissionDeniedError, UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One sign-in on its way.

    Attributes
    ----------
    state, nonce : str
        Come back with the browser and in the provider's token.
    verifier : str
        Of PKCE (RFC 7636): whoever redeems the code must know it.
    redirect_uri : str
        Where the provider sends the browser.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str

    @property
    def challenge(self) -> str:
        """RFC 7636 section 4.2, S256."""
        digest = sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A person as a provider describes one; ``id`` stays the same when the rest changes."""

    id: str
    email: str | None
    email_verified: bool
    name: str


class ProviderRefusedError(PermissionDeniedError):
    """The provider did not confirm who it is, or in a way that can't be trusted."""


class ProviderAwayError(UnavailableError):
    """The provider can't be reached, or answers with an error of its own."""


class SocialProvider(Protocol):
    """A provider."""

    @property
    def name(self) -> str:
        """Its name in addresses."""

    @property
    def title(self) -> str:
        """Its name among people."""

    @property
    def posts_back(self) -> bool:
        """Whether it sends the browser back with a form instead of an address."""

    async def address(self, asking: Asking) -> str:
        """Where the browser is sent; raises ProviderAwayError."""

    async def person(self, code: str, asking: Asking) -> Claimed:
        """Who it is, for the code that the browser came back with; raises ProviderRefusedError, ProviderAwayError."""

    async def close(self) -> None:
        """Close connections."""
