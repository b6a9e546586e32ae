"""Wire models of people's own accounts."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, field_validator

from media_gateway.auth.account_schemas import DisplayName, Secret
from media_gateway.auth.emails import Email
from media_gateway.core.domain.content import (
    Genre,
    LanguageCode,
    MaturityRating,
    PlatformName,
    RegionCode,
    VideoQuality,
)
from media_gateway.core.web import Wire

Pin = Annotated[str, Field(pattern=r"^[0-9]{4,8}$", description="Four to eight digits.", examples=["2468"])]
Genres = Annotated[list[Genre], Field(max_length=24)]


def check_rating(rating: MaturityRating | None) -> MaturityRating | None:
    """Let ratings through that say something about an age: search knows the others as no limit."""
    if rating is MaturityRating.NR:
        raise ValueError("NR says nothing about an age")
    return rating


class ProfileFields(Wire):
    """What else a person says; null takes a field out."""

    language: LanguageCode | None = Field(default=None, max_length=35, examples=["en"])
    region: RegionCode | None = Field(default=None, examples=["GB"])
    avatar_url: Annotated[str, Field(max_length=500, pattern=r"^https://[^\s\"'<>]+$")] | None = None


class ProfileChange(Wire):
    """What to change; what is left out stays."""

    display_name: DisplayName | None = None
    email: Email | None = Field(
        default=None, description="Becomes the account's once its owner has opened the mailed link."
    )
    password: Secret | None = Field(default=None, description="The account's, needed to change the address.")
    profile: ProfileFields | None = None


class ProfileView(Wire):
    """An account, as its owner sees it."""

    user_id: UUID
    email: str
    email_verified: bool
    pending_email: str | None = Field(description="Address that is still to be confirmed.")
    display_name: str
    tier: str
    roles: list[str]
    profile: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class PreferencesChange(Wire):
    """Taste and habits. What is left out stays with PATCH, and gets its default with PUT."""

    favorite_genres: Genres = Field(default=[])
    disliked_genres: Genres = Field(default=[])
    preferred_languages: Annotated[
        list[Annotated[LanguageCode, Field(max_length=35)]], Field(max_length=20)
    ] = Field(default=[])
    subscribed_platforms: Annotated[list[PlatformName], Field(max_length=100)] = Field(default=[])
    max_content_rating: MaturityRating | None = None
    preferred_video_quality: VideoQuality | None = None
    autoplay_next: bool = True

    _rated = field_validator("max_content_rating")(check_rating)


class PasswordChange(Wire):
    """A new password."""

    current: Secret
    new: Secret


class PasswordBody(Wire):
    """The account's password, to show that its owner is there."""

    password: Secret


class LimitsChange(Wire):
    """Parental limits. Once a PIN is set they change with it only; without one, `pin` becomes it."""

    content_rating_limit: MaturityRating | None = Field(
        description="Strongest rating that is shown; null for no limit.", examples=["PG-13"]
    )
    blocked_genres: Genres = Field(default=[])
    pin: Pin | None = None
    new_pin: Pin | None = Field(default=None, description="Takes the place of `pin`.")
    remove_pin: bool = False

    _rated = field_validator("content_rating_limit")(check_rating)


class LimitsView(Wire):
    """Parental limits. Tokens carry them; those made before a change, until they are renewed."""

    content_rating_limit: str | None
    blocked_genres: list[str]
    pin_set: bool


class PinBody(Wire):
    """A PIN as somebody has typed it."""

    pin: Pin


class PinAnswer(Wire):
    """The PIN is right."""

    verified: bool = True


class Export(Wire):
    """Everything that accounts keep of a person."""

    account: ProfileView
    preferences: dict[str, Any]
    parental_controls: LimitsView
    second_factor: list[dict[str, Any]]
    backup_codes: list[dict[str, Any]]
    api_keys: list[dict[str, Any]]
    identities: list[dict[str, Any]]
    mailed_links: list[dict[str, Any]]
    grants: list[dict[str, Any]]
    audit_log: list[dict[str, Any]]
