"""What tokens say of a person, read anew whenever one is made. Kept by the accounts, asked by everything that grants."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A person as tokens describe one.

    Attributes
    ----------
    user_id : UUID
        ``sub`` of the tokens.
    tier : str
        Subscription tier: ``free``, ``pro`` or ``enterprise``.
    scopes : frozenset of str
        The most that a token of this person may allow.
    content_rating_limit : str | None
        Strongest rating the profile may see; None for no limit.
    enabled : bool
        False for accounts that are locked or deleted: they get no tokens, whatever was approved before.
    """

    user_id: UUID
    email: str
    email_verified: bool
    display_name: str
    tier: str
    roles: tuple[str, ...]
    scopes: frozenset[str]
    content_rating_limit: str | None
    blocked_genres: tuple[str, ...]
    enabled: bool


class Subjects(Protocol):
    """Where people are looked up."""

    async def find(self, user_id: UUID) -> Subject | None:
        """The person as of now; None for one who never was.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached.
        """
