"""How OAuth's core is put together: programs, keys, tokens, authorization."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import structlog

from media_gateway.auth import client_routes, oauth_routes
from media_gateway.auth.client_schemas import read_client_file
from media_gateway.auth.clients import AUTHORIZATION_CODE, DEVICE_CODE, REFRESH_TOKEN, Client
from media_gateway.auth.keys import SigningKeys
from media_gateway.auth.oauth_errors import OAuthError
from media_gateway.auth.pages import consent
from media_gateway.auth.roles import ALL_SCOPES
from media_gateway.auth.services.authorizing import Authorizing
from media_gateway.auth.services.clients import Clients
from media_gateway.auth.services.inspecting import Inspecting
from media_gateway.auth.services.issuing import Issuer, IssuerParts, Lives
from media_gateway.auth.services.minting import Mint, MintRules
from media_gateway.auth.services.redeeming import Redeeming, RedeemingParts
from media_gateway.auth.settings import Settings
from media_gateway.auth.store.accounts import AccountSubjects, find_subject
from media_gateway.auth.store.audit import PostgresAuditLog
from media_gateway.auth.store.grants import prune
from media_gateway.core.adapters.postgres import Database
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.limiting import ClientKind
from media_gateway.core.tokens import TokenVerifier
from media_gateway.core.web import CLIENT_KINDS, REVOKED, VERIFIER, ClientKinds, Context

OAUTH_ROUTES = (oauth_routes.routes, client_routes.routes, consent.routes)
"""What `wire_oauth` makes work."""

KEYS_READ_S = 5.0
"""Time between two looks at the file of keys, in seconds; far below the lead of a new key."""

PRUNED_EVERY_S = 3_600.0

# Not `account`: a program must not change the password of those who use it.
_PERSON = ALL_SCOPES - {"admin", "account"}

BUILT_IN_CLIENTS = (
    Client(
        client_id="tv-app",
        name="TV app",
        grant_types=frozenset({DEVICE_CODE, REFRESH_TOKEN}),
        scopes=_PERSON,
    ),
    Client(
        client_id="web-app",
        name="Web app",
        redirect_uris=("http://127.0.0.1/callback", "http://[::1]/callback"),
        grant_types=frozenset({AUTHORIZATION_CODE, REFRESH_TOKEN}),
        scopes=_PERSON,
    ),
)
"""Programs of an installation that names none: they can be tried at once, and send nobody to another machine."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthParts:
    """What the other parts of auth get from OAuth's core."""

    clients: Clients
    subjects: AccountSubjects
    issuer: Issuer
    audit: PostgresAuditLog


def wire_oauth(context: Context[Settings]) -> OAuthParts:
    """Put the core together.

    Raises
    ------
    NotConfiguredError
        The keys or the file of programs can't be used.
    """
    app, settings, database = context.app, context.settings, context.backends.database
    keys, mint = _mint(settings)
    app[VERIFIER].trust(keys.published())
    audit, subjects = PostgresAuditLog(database), AccountSubjects(database)
    clients = Clients(database, _fixed_clients(settings), audit)
    lives = Lives(
        access_s=settings.access_token_s,
        refresh_s=settings.refresh_token_s,
        leeway_s=settings.refresh_leeway_s,
    )
    revoked = app[REVOKED]
    issuer = Issuer(
        IssuerParts(database=database, mint=mint, clients=clients, revocations=revoked, lives=lives)
    )
    check_resource = _resources(settings.resources)
    app[oauth_routes.CLIENTS] = clients
    app[oauth_routes.REDEEMING] = Redeeming(
        RedeemingParts(
            database=database,
            issuer=issuer,
            mint=mint,
            find_subject=find_subject,
            lives=lives,
            check_resource=check_resource,
        )
    )
    app[oauth_routes.INSPECTING] = Inspecting(database, mint, issuer, revoked)
    app[oauth_routes.KEYS] = keys
    app[oauth_routes.ISSUER] = settings.public_url
    app[oauth_routes.SUBJECTS] = subjects
    app[consent.AUTHORIZING] = Authorizing(
        database,
        clients,
        issuer=settings.public_url,
        check_resource=check_resource,
        code_s=settings.authorization_code_s,
    )
    app[CLIENT_KINDS] = ClientKinds(partial(_kind_of, clients))
    context.supervisor.spawn("signing keys", partial(_follow_keys, keys, app[VERIFIER]))
    context.supervisor.spawn("expired grants", partial(_prune, database, settings.grants_kept_days * 86_400))
    return OAuthParts(clients=clients, subjects=subjects, issuer=issuer, audit=audit)


def _mint(settings: Settings) -> tuple[SigningKeys, Mint]:
    secret = settings.auth_secret.get_secret_value() if settings.auth_secret else None
    keys = SigningKeys(settings.signing_keys_path, secret)
    rules = MintRules(
        issuer=settings.public_url, shared_issuer=settings.auth_issuer, audience=settings.auth_audience
    )
    return keys, Mint(keys, rules)


def _fixed_clients(settings: Settings) -> Iterable[Client]:
    return BUILT_IN_CLIENTS if settings.clients_path is None else read_client_file(settings.clients_path)


def _resources(known: frozenset[str]) -> Callable[[str | None], str | None]:
    def check(asked: str | None) -> str | None:
        if asked is not None and asked not in known:
            raise OAuthError("invalid_target", "resource: not a service that tokens are made for")
        return asked

    return check


async def _kind_of(clients: Clients, client_id: str) -> ClientKind:
    try:
        client = await clients.find(client_id)
    except MediaGatewayError:
        return ClientKind.UNKNOWN
    if client is None:
        return ClientKind.UNKNOWN
    return ClientKind.SHARED if client.is_public else ClientKind.CONFIDENTIAL


async def _follow_keys(keys: SigningKeys, verifier: TokenVerifier) -> None:
    while True:
        await asyncio.sleep(KEYS_READ_S)
        try:
            if keys.reload():
                verifier.trust(keys.published())
                _log.info("signing keys read again", keys=len(keys.published()["keys"]))
        except MediaGatewayError as error:
            # Those there are stay good: half a file must not stop the signing in.
            _log.error("signing keys can't be read again", problem=error.message)


async def _prune(database: Database, kept_s: float) -> None:
    while True:
        try:
            async with database.transaction(timeout_ms=60_000) as connection:
                await prune(connection, kept_s=kept_s)
        except MediaGatewayError as error:
            _log.warning("expired grants were not deleted", problem=error.message)
        await asyncio.sleep(PRUNED_EVERY_S)
