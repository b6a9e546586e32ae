"""Wire models of API keys."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from media_gateway.core.web import Wire

Scope = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x21\x23-\x5B\x5D-\x7E]+$")]
"""RFC 6749 section 3.3."""


class KeyWish(Wire):
    """A key to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")] = Field(
        description="For its owner to tell it from others.", examples=["backup script"]
    )
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=50)] | None = Field(
        default=None,
        description="What it may do: no more than the token that makes it. Left out: as much.",
        examples=[["read:content"]],
    )
    expires_in_days: Annotated[int, Field(ge=1, le=3_650)] | None = Field(
        default=None, description="Its life in days. Left out: no end.", examples=[90]
    )


class KeyView(Wire):
    """A live key, without the key."""

    id: UUID
    name: str
    prefix: str = Field(description="How the key begins.", examples=["mg_live_Ab3x"])
    scopes: list[str]
    created_at: AwareDatetime
    last_used_at: AwareDatetime | None = Field(description="To the minute.")
    expires_at: AwareDatetime | None


class NewKeyView(KeyView):
    """A new key."""

    key: str = Field(description="The key. It is told this once.")


class KeysView(Wire):
    """A person's live keys, oldest first."""

    items: list[KeyView]


class KeyPath(Wire):
    """Which key."""

    key_id: UUID


class ExchangeBody(Wire):
    """A key that somebody sent."""

    key: Annotated[str, Field(min_length=1, max_length=256)]


class ExchangeView(Wire):
    """A token for it."""

    access_token: str
    expires_in: int = Field(description="Its life, in seconds.")
