"""What the device grant needs of the rest of auth: registered programs, and a way to tell a device."""

from dataclasses import dataclass
from typing import Protocol


class GrantClient(Protocol):
    """A registered program."""

    @property
    def client_id(self) -> str:
        """Its public name among programs."""

    @property
    def name(self) -> str:
        """Its name among people."""

    @property
    def scopes(self) -> frozenset[str]:
        """The most that its tokens may allow."""

    @property
    def grant_types(self) -> frozenset[str]:
        """How it may get tokens."""

    @property
    def enabled(self) -> bool:
        """False for one that gets no tokens any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProof:
    """What a request says of the program that sends it.

    Attributes
    ----------
    authorization : str | None
        The header, if one was sent.
    client_id, client_secret : str | None
        From the form.
    """

    authorization: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class ClientDirectory(Protocol):
    """Where programs are looked up."""

    async def find(self, client_id: str) -> GrantClient | None:
        """The program as of now; None for one that is not registered."""

    async def authenticate(self, proof: ClientProof) -> GrantClient:
        """The program that a request is from: a public one by its id, a confidential one by its secret.

        Raises
        ------
        MediaGatewayError
            With the OAuth error ``invalid_client`` or ``invalid_request``.
        """


class DeviceHints(Protocol):
    """Tells a device that it need not wait for its next poll. Only a hint: it may get lost, and holds no decision."""

    async def decided(self, device_hash: str) -> None:
        """Somebody has approved or refused the device whose code has this SHA-256 (hex)."""
