"""Routes of API keys, under their own address and that of the original system, and the one that the gateway asks."""

from aiohttp import web

from media_gateway.auth.acting import actor_of
from media_gateway.auth.api_key_schemas import (
    ExchangeBody,
    ExchangeView,
    KeyPath,
    KeysView,
    KeyView,
    KeyWish,
    NewKeyView,
)
from media_gateway.auth.oauth_answers import NO_STORE, OAuthProblem, oauth_answer
from media_gateway.auth.services.api_keys import ApiKeys
from media_gateway.auth.settings import Settings
from media_gateway.core.errors import NotConfiguredError, PermissionDeniedError, UnauthenticatedError
from media_gateway.core.service_tokens import HEADER, verify_internal
from media_gateway.core.web import Auth, RouteTable, respond
from media_gateway.core.web.schemas import Problem

API_KEYS = web.AppKey("api_keys", ApiKeys)
SETTINGS = web.AppKey("api_key_settings", Settings)

ADDRESSES = ("/api/v1/api-keys", "/api/v1/auth/api-keys")

routes = RouteTable(tag="API keys")


async def create_key(request: web.Request, body: KeyWish) -> web.Response:
    """A key for the person's own programs. The answer tells it this once."""
    key, kept = await request.app[API_KEYS].create(
        actor_of(request), name=body.name, scopes=body.scopes, days=body.expires_in_days
    )
    view = NewKeyView(key=key, **KeyView.model_validate(kept).model_dump())
    return respond(view, status=201, headers=NO_STORE)


async def list_keys(request: web.Request) -> KeysView:
    """The person's live keys."""
    kept = await request.app[API_KEYS].of(actor_of(request))
    return KeysView(items=[KeyView.model_validate(one) for one in kept])


async def delete_key(request: web.Request, path: KeyPath) -> None:
    """It works for a minute more at most at the gateway, and its tokens for five."""
    await request.app[API_KEYS].revoke(actor_of(request), path.key_id)


for _address in ADDRESSES:
    routes.post(
        _address,
        body=KeyWish,
        returns=NewKeyView,
        responses={400: Problem, 403: Problem, 409: Problem},
        status=201,
        auth=Auth.REQUIRED,
        body_limit_bytes=16_384,
        summary="Make an API key",
    )(create_key)
    routes.get(
        _address,
        returns=KeysView,
        responses={403: Problem},
        auth=Auth.REQUIRED,
        summary="List API keys",
    )(list_keys)
    routes.delete(
        _address + "/{key_id}",
        path=KeyPath,
        responses={403: Problem, 404: Problem},
        auth=Auth.REQUIRED,
        summary="End an API key",
    )(delete_key)


@routes.post(
    "/auth/api-keys/exchange",
    body=ExchangeBody,
    returns=ExchangeView,
    responses={401: OAuthProblem, 403: OAuthProblem},
    auth=Auth.NONE,
    answer_error=oauth_answer,
    body_limit_bytes=4_096,
    summary="A token for an API key (services only)",
)
async def exchange(request: web.Request, body: ExchangeBody) -> web.Response:
    """For the gateway, with a service token: 401 is about the key, 403 about the service."""
    _check_service(request)
    pair = await request.app[API_KEYS].exchange(body.key)
    answer = ExchangeView(access_token=pair.access_token, expires_in=pair.expires_in)
    return respond(answer, headers=NO_STORE)


def _check_service(request: web.Request) -> None:
    secret = request.app[SETTINGS].auth_secret
    if secret is None:
        raise NotConfiguredError("MEDIA_GATEWAY_AUTH_SECRET: services prove themselves by it")
    try:
        verify_internal(secret.get_secret_value(), request.headers.get(HEADER, ""))
    except UnauthenticatedError as error:
        raise PermissionDeniedError(f"only services may ask: {error.message}") from error
