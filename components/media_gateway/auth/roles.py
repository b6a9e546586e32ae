"""Roles of people and programs, and the scopes that each may be given."""

from collections.abc import Iterable

IDENTITY_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
"""Those of OpenID Connect; everybody may show who they are."""

_PERSON = IDENTITY_SCOPES | {
    "read:content",
    "read:watchlist",
    "write:watchlist",
    "playback:control",
    "account",
}

SCOPES_OF_ROLE: dict[str, frozenset[str]] = {
    "user": _PERSON,
    "premium": _PERSON,
    "admin": _PERSON | {"admin"},
    "service": frozenset({"internal"}),
}
"""The most that somebody with a role can allow a program; clients ask for less."""

ALL_SCOPES = frozenset().union(*SCOPES_OF_ROLE.values()) - {"internal"}
"""Scopes that programs of others may ask for."""


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """All scopes of some roles together; a role that is not in the table gives none."""
    return frozenset().union(*(SCOPES_OF_ROLE.get(role, frozenset()) for role in roles))
