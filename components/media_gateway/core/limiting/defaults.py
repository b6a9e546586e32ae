"""The limits that hold before anybody has written some: of signing in, and of the front door by tier."""

from pydantic import Field

from media_gateway.core.limiting.compiling import ANONYMOUS
from media_gateway.core.limiting.document import KeyPart, LimitDocument, LimitView, RateView, When
from media_gateway.core.limiting.rules import FailureMode
from media_gateway.core.settings import CoreSettings

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

SOURCE = (KeyPart(source="IP"),)
CLIENT = (KeyPart(source="Client"),)
USER = (KeyPart(source="User"),)

TIERS = {
    ANONYMOUS: (5, 100, 10),
    "free": (10, 200, 20),
    "pro": (50, 1_000, 100),
    "enterprise": (200, 5_000, 400),
}
"""Requests a second, a minute, and at once."""


class SignInLimits(CoreSettings):
    """Settings of the limits of signing in; the settings of auth extend them."""

    rate_limit_token: int = Field(
        default=10, ge=1, description="Calls of the token endpoint per client and minute.", examples=["10"]
    )
    rate_limit_device: int = Field(
        default=5, ge=1, description="Device codes per client and minute.", examples=["5"]
    )
    rate_limit_authorize: int = Field(
        default=20,
        ge=1,
        description="Calls of the authorization endpoint per source and minute.",
        examples=["20"],
    )
    rate_limit_revoke: int = Field(
        default=10, ge=1, description="Tokens revoked per client and minute.", examples=["10"]
    )
    rate_limit_register: int = Field(
        default=5, ge=1, description="Accounts registered per source and hour.", examples=["5"]
    )
    rate_limit_login: int = Field(
        default=10, ge=1, description="Sign-ins tried per source and minute.", examples=["10"]
    )
    rate_limit_poll: int = Field(
        default=300,
        ge=1,
        description="Polls with device codes per source and minute. Each code has its own interval; this bounds all of a source.",
        examples=["300"],
    )


def sign_in_limits(settings: SignInLimits, component: str) -> LimitDocument:
    """The limits of auth.

    Endpoints are ``token``, ``device``, ``authorize``, ``revoke``, ``register``, ``login`` and ``poll``; the last is what a
    route calls a token request with a device code, so that a TV that keeps to its interval never meets the ``token`` limit.
    """
    rows = (
        ("token", settings.rate_limit_token, MINUTE_MS, CLIENT),
        ("device", settings.rate_limit_device, MINUTE_MS, CLIENT),
        ("authorize", settings.rate_limit_authorize, MINUTE_MS, SOURCE),
        ("revoke", settings.rate_limit_revoke, MINUTE_MS, CLIENT),
        ("register", settings.rate_limit_register, HOUR_MS, SOURCE),
        ("login", settings.rate_limit_login, MINUTE_MS, SOURCE),
        ("poll", settings.rate_limit_poll, MINUTE_MS, SOURCE),
    )
    return LimitDocument(
        limits=tuple(
            LimitView(
                name=name,
                component=component,
                endpoints=(name,),
                algorithm="SlidingWindow",
                rates=(RateView(limit=limit, window_ms=window_ms),),
                key=key,
                failure_mode=FailureMode.LOCAL,
            )
            for name, limit, window_ms, key in rows
        )
    )


def tier_limits(component: str) -> LimitDocument:
    """The limits of the front door: by subject, else source, as much as the tier has."""
    limits: list[LimitView] = []
    for tier, (a_second, a_minute, burst) in TIERS.items():
        when = When(tiers=(tier,))
        limits += (
            LimitView(
                name=f"{tier}-second",
                component=component,
                rates=(RateView(limit=a_second, window_ms=1_000),),
                burst=burst,
                key=USER,
                when=when,
            ),
            LimitView(
                name=f"{tier}-minute",
                component=component,
                algorithm="SlidingWindow",
                rates=(RateView(limit=a_minute, window_ms=MINUTE_MS),),
                key=USER,
                when=when,
            ),
        )
    return LimitDocument(limits=tuple(limits))
