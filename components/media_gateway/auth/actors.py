"""Who changes something of an account, and from where: what services need of a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from media_gateway.auth.audit import AuditEntry

API_KEY_CLIENT = "api-key"
"""``client_id`` of tokens that were made for an API key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A person at work on the own account.

    Attributes
    ----------
    scopes : frozenset of str
        What the token allows.
    grant_id : UUID | None
        The grant that the token is of, if it says so.
    source, user_agent : str | None
        Where the request comes from.
    """

    user_id: UUID
    scopes: frozenset[str]
    grant_id: UUID | None = None
    source: str | None = None
    user_agent: str | None = None

    def did(
        self,
        action: str,
        resource_type: str,
        resource_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> AuditEntry:
        """An entry for the audit log about what this person did."""
        return AuditEntry(
            action=action,
            resource_type=resource_type,
            resource_id=resource_id,
            user_id=self.user_id,
            source=self.source,
            user_agent=self.user_agent,
            details=details or {},
        )


def as_uuid(text: object) -> UUID | None:
    """A claim as an id; None if it is none."""
    try:
        return UUID(str(text))
    except ValueError:
        return None
