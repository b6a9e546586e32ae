"""Acts that matter to security, written down for those who run the platform."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request comes from: its address, and the program it names."""

    source: str
    user_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act. It never holds a token, code, password or PIN.

    Attributes
    ----------
    action : str
        What was done, as ``thing.verb``: ``account.locked``, ``refresh_token.reused``.
    resource_type, resource_id : str
        What it was done to: ``user``, ``client``, ``grant``, ``api_key``.
    user_id : UUID | None
        Who did it, if it is known.
    source : str | None
        Address it came from.
    """

    action: str
    resource_type: str
    resource_id: str | None = None
    user_id: UUID | None = None
    source: str | None = None
    user_agent: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class AuditLog(Protocol):
    """Where entries go."""

    async def record(self, entry: AuditEntry) -> None:
        """Keep an entry.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached.
        """
