"""Routes of OAuth: the token endpoint, revocation, introspection, metadata and keys."""

from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from media_gateway.auth.clients import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    GRANT_TYPES,
    REFRESH_TOKEN,
)
from media_gateway.auth.device_routes import GRANTS, proof_of, token_answer
from media_gateway.auth.device_schemas import TokenAnswer
from media_gateway.auth.keys import SigningKeys
from media_gateway.auth.oauth_answers import NO_STORE, POLL_LIMIT, OAuthProblem, oauth_answer
from media_gateway.auth.oauth_errors import InvalidClientError, OAuthError
from media_gateway.auth.oauth_schemas import (
    InspectForm,
    KeySet,
    Metadata,
    RevokeForm,
    TokenForm,
    TokenState,
    UserInfo,
)
from media_gateway.auth.roles import ALL_SCOPES
from media_gateway.auth.services.clients import Clients
from media_gateway.auth.services.inspecting import Inspecting
from media_gateway.auth.services.minting import OPENID, identity
from media_gateway.auth.services.redeeming import Redeeming
from media_gateway.auth.subjects import Subjects
from media_gateway.core.errors import UnauthenticatedError
from media_gateway.core.web import CALLER, Auth, Limits, RouteTable, respond

CLIENTS = web.AppKey("clients", Clients)
REDEEMING = web.AppKey("redeeming", Redeeming)
INSPECTING = web.AppKey("inspecting", Inspecting)
KEYS = web.AppKey("signing_keys", SigningKeys)
ISSUER = web.AppKey("issuer", str)
SUBJECTS = web.AppKey("subjects", Subjects)

KEYS_KEPT_S = 300
"""How long verifiers may keep the key set, in seconds; less than the lead of a new key (`keys.LEAD_S`)."""

routes = RouteTable(tag="OAuth")

_PROBLEMS = {400: OAuthProblem, 401: OAuthProblem, 429: OAuthProblem}


def _endpoint(form: Mapping[str, str]) -> str:
    # A TV that keeps to its interval polls more often than other token requests are allowed.
    return POLL_LIMIT if form.get("grant_type") == DEVICE_CODE else "token"


@routes.post(
    "/auth/token",
    form=TokenForm,
    returns=TokenAnswer,
    responses=_PROBLEMS,
    auth=Auth.NONE,
    limits=Limits(choose=_endpoint),
    answer_error=oauth_answer,
    body_limit_bytes=16_384,
    summary="Get tokens",
)
async def token(request: web.Request, form: TokenForm) -> web.Response:
    """For an authorization code, a refresh token, an approved device, or a program itself (RFC 6749 section 3.2)."""
    if form.grant_type not in GRANT_TYPES:
        raise OAuthError("unsupported_grant_type", f"grant_type: known are {', '.join(GRANT_TYPES)}")
    client = await request.app[CLIENTS].authenticate(proof_of(request, form.client_id, form.client_secret))
    if form.grant_type == DEVICE_CODE:
        return token_answer(await request.app[GRANTS].poll(client, _needed("device_code", form.device_code)))
    redeeming = request.app[REDEEMING]
    if form.grant_type == AUTHORIZATION_CODE:
        pair = await redeeming.code(
            client,
            code=_needed("code", form.code),
            redirect_uri=form.redirect_uri,
            verifier=form.code_verifier,
            resource=form.resource,
        )
    elif form.grant_type == REFRESH_TOKEN:
        pair = await redeeming.refresh(
            client,
            token=_needed("refresh_token", form.refresh_token),
            scope=form.scope,
            resource=form.resource,
        )
    else:
        assert form.grant_type == CLIENT_CREDENTIALS
        pair = await redeeming.client_credentials(client, scope=form.scope, resource=form.resource)
    return token_answer(pair)


@routes.post(
    "/auth/revoke",
    form=RevokeForm,
    responses=_PROBLEMS,
    auth=Auth.NONE,
    limits=Limits("revoke"),
    answer_error=oauth_answer,
    body_limit_bytes=16_384,
    summary="End a token",
)
async def revoke(request: web.Request, form: RevokeForm) -> web.Response:
    """200 also for tokens that nobody knows (RFC 7009 section 2.2). A refresh token takes all tokens of its grant along."""
    client = await request.app[CLIENTS].authenticate(proof_of(request, form.client_id, form.client_secret))
    await request.app[INSPECTING].revoke(client, form.token)
    return web.Response(headers=NO_STORE)


@routes.post(
    "/auth/introspect",
    form=InspectForm,
    returns=TokenState,
    responses=_PROBLEMS,
    auth=Auth.NONE,
    answer_error=oauth_answer,
    body_limit_bytes=16_384,
    summary="See what a token is good for",
)
async def introspect(request: web.Request, form: InspectForm) -> web.Response:
    """For confidential clients (RFC 7662); a token that is not good is not active, and no more is said."""
    client = await request.app[CLIENTS].authenticate(proof_of(request, form.client_id, form.client_secret))
    if client.is_public:
        # Anybody could find out what stolen tokens are good for.
        raise InvalidClientError("only a client with a secret may look at tokens")
    state = await request.app[INSPECTING].inspect(client, form.token)
    return respond(TokenState.model_validate(state), headers=NO_STORE)


@routes.get(
    "/auth/userinfo",
    returns=UserInfo,
    responses={401: OAuthProblem, 403: OAuthProblem},
    auth=Auth.scope(OPENID),
    answer_error=oauth_answer,
    summary="Who the token's person is",
)
async def userinfo(request: web.Request) -> web.Response:
    """As far as the scopes ``profile`` and ``email`` open it."""
    caller = request[CALLER]
    try:
        subject = await request.app[SUBJECTS].find(UUID(caller.subject))
    except ValueError:
        subject = None
    if subject is None or not subject.enabled:
        raise UnauthenticatedError("the token's account is locked or gone")
    return respond(UserInfo.model_validate(identity(subject, caller.scopes)), headers=NO_STORE)


@routes.get("/.well-known/jwks.json", returns=KeySet, auth=Auth.NONE, limits=None, summary="The public keys")
async def jwks(request: web.Request) -> web.Response:
    """Keys that access and id tokens can be checked with (RFC 7517); empty if they are signed with the shared secret."""
    headers = {"Cache-Control": f"public, max-age={KEYS_KEPT_S}"}
    return respond(KeySet.model_validate(request.app[KEYS].published()), headers=headers)


@routes.get(
    "/.well-known/oauth-authorization-server",
    returns=Metadata,
    auth=Auth.NONE,
    limits=None,
    summary="What this server can do (RFC 8414)",
)
async def metadata(request: web.Request) -> web.Response:
    """Addresses and abilities; clients find everything else from here."""
    issuer = request.app[ISSUER]
    algorithms = sorted({str(key["alg"]) for key in request.app[KEYS].published()["keys"]})
    answer = Metadata(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/auth/authorize",
        token_endpoint=f"{issuer}/auth/token",
        revocation_endpoint=f"{issuer}/auth/revoke",
        introspection_endpoint=f"{issuer}/auth/introspect",
        device_authorization_endpoint=f"{issuer}/auth/device",
        userinfo_endpoint=f"{issuer}/auth/userinfo",
        jwks_uri=f"{issuer}/.well-known/jwks.json",
        scopes_supported=sorted(ALL_SCOPES),
        grant_types_supported=list(GRANT_TYPES),
        id_token_signing_alg_values_supported=algorithms,
    )
    return respond(answer, headers={"Cache-Control": f"public, max-age={KEYS_KEPT_S}"})


routes.get(
    "/.well-known/openid-configuration",
    returns=Metadata,
    auth=Auth.NONE,
    limits=None,
    summary="The same, under OpenID Connect's name",
)(metadata)


def _needed(name: str, value: str | None) -> str:
    if value is None:
        raise OAuthError("invalid_request", f"{name}: missing")
    return value
