"""Auth as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from media_gateway.auth.accounts import ACCOUNT_ROUTES, AccountNeeds, wire_accounts
from media_gateway.auth.credentials import CREDENTIAL_ROUTES, CredentialNeeds, wire_credentials
from media_gateway.auth.device_wiring import DEVICE_ROUTES, DeviceNeeds, wire_device
from media_gateway.auth.oauth import OAUTH_ROUTES, wire_oauth
from media_gateway.auth.passwords import Passwords
from media_gateway.auth.settings import Settings
from media_gateway.auth.social_login import SOCIAL_ROUTES, SocialNeeds, wire_social
from media_gateway.core.limiting.defaults import sign_in_limits
from media_gateway.core.web import Component, Context


@asynccontextmanager
async def wire(context: Context[Settings]) -> AsyncIterator[None]:
    """Each part gets what it needs of the others; nothing waits for a server."""
    oauth = wire_oauth(context)
    factors = wire_credentials(
        context, CredentialNeeds(issuer=oauth.issuer, subjects=oauth.subjects, audit=oauth.audit)
    )
    passwords = Passwords()
    try:
        accounts = wire_accounts(
            context,
            AccountNeeds(issuer=oauth.issuer, second_factors=factors, audit=oauth.audit, passwords=passwords),
        )
        wire_device(
            context,
            DeviceNeeds(
                clients=oauth.clients, subjects=oauth.subjects, issuer=oauth.issuer, login=accounts.login
            ),
        )
        social = SocialNeeds(subjects=oauth.subjects, audit=oauth.audit, factors=factors)
        async with wire_social(context, social):
            yield
    finally:
        passwords.close()


COMPONENT = Component(
    name="auth",
    port=8084,
    settings=Settings,
    needs=frozenset({"database", "redis"}),
    critical=frozenset({"database", "redis"}),
    routes=(*OAUTH_ROUTES, *DEVICE_ROUTES, *ACCOUNT_ROUTES, *CREDENTIAL_ROUTES, *SOCIAL_ROUTES),
    wire=wire,
    limits=lambda settings: sign_in_limits(settings, "auth"),
    summary="Knows who people and programs are: accounts, OAuth 2, the signing-in of TVs.",
)
