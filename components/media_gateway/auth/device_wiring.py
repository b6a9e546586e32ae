"""How the device grant and the pages on which people approve a TV are put together."""

from dataclasses import dataclass
from hashlib import sha256

from media_gateway.auth import device_routes
from media_gateway.auth.browser import BrowserSessions
from media_gateway.auth.device_ports import ClientDirectory
from media_gateway.auth.granting import TokenIssuer
from media_gateway.auth.pages import device as device_page, sign_in
from media_gateway.auth.pages.visitors import Visitors
from media_gateway.auth.services.device import DeviceGrants, DeviceParts
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.device import DeviceRules, DeviceStore
from media_gateway.auth.store.device_hints import RedisHints
from media_gateway.auth.store.second_step import SecondSteps
from media_gateway.auth.subjects import Subjects
from media_gateway.core.web import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNeeds:
    """What the device grant and the pages get from the other parts of auth."""

    clients: ClientDirectory
    subjects: Subjects
    issuer: TokenIssuer
    login: sign_in.Login


DEVICE_ROUTES = (device_routes.routes, sign_in.routes, device_page.routes)
"""What `wire_device` makes work."""


def wire_device(context: Context[Settings], needs: DeviceNeeds) -> None:
    """The device grant and the pages."""
    app, settings, redis = context.app, context.settings, context.backends.redis
    rules = DeviceRules(
        life_s=settings.device_code_s,
        interval_s=settings.device_poll_s,
        guesses_per_user=settings.device_guesses,
        guesses_per_source=settings.device_guesses,
        guesses_of_all=settings.device_guesses_of_all,
    )
    app[device_routes.GRANTS] = DeviceGrants(
        DeviceParts(
            store=DeviceStore(redis, key=_user_code_key(settings), rules=rules),
            clients=needs.clients,
            subjects=needs.subjects,
            issuer=needs.issuer,
            hints=RedisHints(redis),
        )
    )
    app[device_routes.CLIENTS] = needs.clients
    app[device_routes.SETTINGS] = settings
    sessions = BrowserSessions(redis, life_s=settings.browser_session_h * 3600)
    app[sign_in.VISITORS] = Visitors(sessions, needs.subjects, settings)
    app[sign_in.LOGIN] = needs.login
    app[sign_in.SECOND_STEPS] = SecondSteps(redis)


def _user_code_key(settings: Settings) -> bytes:
    # Without a secret the digests still tell nothing to those who see Redis only after the codes' few minutes.
    secret = settings.auth_secret.get_secret_value() if settings.auth_secret else settings.public_url
    return sha256(b"user codes of devices\0" + secret.encode()).digest()
