"""How social login is put together. No component serves it yet; it needs the pages of `app.wire_device`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from media_gateway.auth import identity_routes
from media_gateway.auth.audit import AuditLog
from media_gateway.auth.pages import sign_in, social
from media_gateway.auth.second_factor import SecondFactors
from media_gateway.auth.services.social import SocialParts, SocialSignIns
from media_gateway.auth.settings import Settings
from media_gateway.auth.social.asking import SocialProvider
from media_gateway.auth.social.github import GitHubProvider
from media_gateway.auth.social.oidc import OidcProvider
from media_gateway.auth.social.providers import ProviderConfig, load_providers
from media_gateway.auth.store.identities import IdentityStore
from media_gateway.auth.store.social_states import SocialStates
from media_gateway.auth.subjects import Subjects
from media_gateway.core.web import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class SocialNeeds:
    """What social login gets from the other parts of auth."""

    subjects: Subjects
    audit: AuditLog
    factors: SecondFactors


SOCIAL_ROUTES = (social.routes, identity_routes.routes)
"""What `wire_social` makes work."""


@asynccontextmanager
async def wire_social(context: Context[Settings], needs: SocialNeeds) -> AsyncIterator[None]:
    """Social login with the configured providers, until the block ends.

    Raises
    ------
    NotConfiguredError
        The file of providers says something that can't be.
    """
    app, settings, backends = context.app, context.settings, context.backends
    path = settings.social_providers_path
    async with AsyncExitStack() as stack:
        providers = {}
        for config in load_providers(path) if path else ():
            provider = _spoken_to(config)
            stack.push_async_callback(provider.close)
            providers[config.name] = provider
        app[social.SOCIAL] = SocialSignIns(
            SocialParts(
                providers=providers,
                states=SocialStates(backends.redis),
                identities=IdentityStore(backends.database),
                subjects=needs.subjects,
                audit=needs.audit,
                public_url=settings.public_url,
            )
        )
        app[social.FACTORS] = needs.factors
        app[social.SETTINGS] = settings
        app[sign_in.OTHER_WAYS] = tuple(
            sign_in.OtherWay(name, provider.title) for name, provider in providers.items()
        )
        yield


def _spoken_to(config: ProviderConfig) -> SocialProvider:
    return GitHubProvider(config) if config.kind == "github" else OidcProvider(config)
