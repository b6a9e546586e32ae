"""Wire models of administration."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from media_gateway.auth.me_schemas import ProfileView
from media_gateway.core.web import Wire

Cursor = Annotated[
    UUID | None, Field(description="`next_cursor` of the page before; without it the first page.")
]
Limit = Annotated[int, Field(ge=1, le=200)]
Role = Literal["user", "premium", "admin"]
Short = Annotated[str, Field(max_length=200)]


def _in_reach(moment: datetime) -> datetime:
    # At both ends of the calendar a time zone leads out of it.
    if not 1970 <= moment.year < 9999:
        raise ValueError("must be between the years 1970 and 9998")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_reach)]


class UserPath(Wire):
    """Which account."""

    user_id: UUID


class UserQuery(Wire):
    """Which accounts."""

    email_prefix: Annotated[str, Field(max_length=254)] = ""
    locked: bool | None = None
    cursor: Cursor = None
    limit: Limit = 50


class AdminView(ProfileView):
    """An account, as admins see it."""

    has_pin: bool
    locked_at: datetime | None


class UserPage(Wire):
    """Accounts, newest first."""

    users: list[AdminView]
    next_cursor: UUID | None = Field(description="For the next page; null on the last one.")


class UserChange(Wire):
    """What to change; what is left out stays."""

    locked: bool | None = None
    tier: Literal["free", "pro", "enterprise"] | None = None
    roles: Annotated[list[Role], Field(min_length=1, max_length=3)] | None = None
    clear_pin: bool = Field(default=False, description="Take away a PIN that was forgotten.")


class AuditQuery(Wire):
    """Which entries."""

    user_id: UUID | None = None
    action: Short | None = None
    resource_type: Short | None = None
    resource_id: Short | None = None
    since: Moment | None = None
    until: Moment | None = None
    cursor: Cursor = None
    limit: Limit = 50


class AuditView(Wire):
    """An entry."""

    id: UUID
    timestamp: datetime
    user_id: UUID | None
    action: str
    resource_type: str
    resource_id: str | None
    details: dict[str, Any]
    source: str | None
    user_agent: str | None


class AuditPage(Wire):
    """Entries, newest first."""

    entries: list[AuditView]
    next_cursor: UUID | None = Field(description="For the next page; null on the last one.")
