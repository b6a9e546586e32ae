"""What signing in asks of second factors."""

from typing import Protocol
from uuid import UUID


class SecondFactors(Protocol):
    """The codes of people's authenticator apps. Raises UnavailableError or DeadlineExceededError if a server is away."""

    async def is_needed(self, user_id: UUID) -> bool:
        """Whether the person has confirmed an app, so that the password alone does not sign in."""

    async def check(self, user_id: UUID, code: str) -> bool:
        """Whether it is a code of the person's app, or an unused backup code; either can be used once."""
