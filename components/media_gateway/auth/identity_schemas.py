"""Wire models of identities."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from media_gateway.core.web import Wire


class IdentityView(Wire):
    """A provider that the person signs in with."""

    provider: str = Field(examples=["google"])
    email: str | None = Field(description="Verified address there when it was linked.")
    created_at: AwareDatetime
    used_at: AwareDatetime


class IdentitiesView(Wire):
    """All of them."""

    items: list[IdentityView]


class IdentityPath(Wire):
    """Which one."""

    provider: Annotated[str, Field(max_length=40)]
