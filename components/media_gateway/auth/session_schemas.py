"""Wire models of sessions."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from media_gateway.core.web import Wire


class SessionView(Wire):
    """A client that the person is signed in with."""

    id: UUID
    client_id: str
    client_name: str = Field(examples=["Living-room TV"])
    scopes: list[str]
    created_at: AwareDatetime
    last_used_at: AwareDatetime
    current: bool = Field(description="Whether it is the session that asks.")


class SessionsView(Wire):
    """Live sessions, last used first."""

    items: list[SessionView]


class SessionPath(Wire):
    """Which session."""

    session_id: UUID
