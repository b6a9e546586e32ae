"""Routes of the device grant. What a device sends is a form; what a person's program sends is JSON with a token."""

from datetime import UTC, datetime
from urllib.parse import quote

from aiohttp import hdrs, web

from media_gateway.auth.acting import actor_of
from media_gateway.auth.clients import DEVICE_CODE
from media_gateway.auth.device_ports import ClientDirectory, ClientProof
from media_gateway.auth.device_schemas import (
    Decision,
    DecisionAnswer,
    DeviceAnswer,
    DeviceForm,
    DeviceRequest,
    PollForm,
    PollQuery,
    TokenAnswer,
    VerifyQuery,
)
from media_gateway.auth.granting import TokenPair
from media_gateway.auth.oauth_answers import NO_STORE, POLL_LIMIT, OAuthProblem, oauth_answer
from media_gateway.auth.oauth_errors import OAuthError
from media_gateway.auth.services.device import DeviceGrants, Person
from media_gateway.auth.settings import Settings
from media_gateway.auth.user_codes import read_user_code, shown
from media_gateway.core.web import Auth, Limits, RouteTable, respond, source_of
from media_gateway.core.web.schemas import to_bytes

GRANTS = web.AppKey("device_grants", DeviceGrants)
CLIENTS = web.AppKey("device_clients", ClientDirectory)
SETTINGS = web.AppKey("device_settings", Settings)

routes = RouteTable(tag="device grant")


@routes.post(
    "/auth/device",
    form=DeviceForm,
    returns=DeviceAnswer,
    limits=Limits("device"),
    responses={400: OAuthProblem, 401: OAuthProblem},
    auth=Auth.NONE,
    answer_error=oauth_answer,
    body_limit_bytes=8_192,
    summary="Begin to sign in a device",
)
async def begin(request: web.Request, form: DeviceForm) -> web.Response:
    """Codes for a device that can't open a browser (RFC 8628 section 3.1)."""
    client = await request.app[CLIENTS].authenticate(proof_of(request, form.client_id, form.client_secret))
    codes = await request.app[GRANTS].begin(client, scope=form.scope, source=source_of(request))
    settings = request.app[SETTINGS]
    page = f"{settings.public_url}/device"
    code = shown(codes.user_code)
    answer = DeviceAnswer(
        device_code=codes.device_code,
        user_code=code,
        verification_uri=page,
        verification_uri_complete=f"{page}?user_code={quote(code)}",
        expires_in=int(settings.device_code_s),
        interval=max(1, round(settings.device_poll_s)),
    )
    return respond(answer, headers=NO_STORE)


@routes.post(
    "/auth/device/poll",
    form=PollForm,
    returns=TokenAnswer,
    limits=Limits(POLL_LIMIT),
    responses={400: OAuthProblem, 401: OAuthProblem, 429: OAuthProblem},
    auth=Auth.NONE,
    answer_error=oauth_answer,
    body_limit_bytes=8_192,
    summary="Ask whether a device was approved",
)
async def poll(request: web.Request, form: PollForm) -> web.Response:
    """As the token endpoint with the grant type of devices, under the address that older clients know."""
    if form.grant_type not in {None, DEVICE_CODE}:
        raise OAuthError("unsupported_grant_type", f"grant_type: only {DEVICE_CODE} is known here")
    return await answer_poll(request, form)


@routes.get(
    "/auth/device/poll",
    query=PollQuery,
    returns=TokenAnswer,
    limits=Limits(POLL_LIMIT),
    responses={400: OAuthProblem, 401: OAuthProblem, 429: OAuthProblem},
    auth=Auth.NONE,
    answer_error=oauth_answer,
    summary="Ask whether a device was approved (old clients)",
)
async def poll_by_get(request: web.Request, query: PollQuery) -> web.Response:
    """As with POST. A client that does not name itself is taken for the public one whose code it is."""
    client_id = query.client_id
    if client_id is None and hdrs.AUTHORIZATION not in request.headers:
        client_id = await request.app[GRANTS].client_of(query.device_code)
        if client_id is None:
            raise OAuthError("invalid_grant", "device_code: not a code that can be redeemed")
    return await answer_poll(request, PollForm(device_code=query.device_code, client_id=client_id))


async def answer_poll(request: web.Request, form: PollForm) -> web.Response:
    """The one handler of polls, behind the token endpoint, too."""
    client = await request.app[CLIENTS].authenticate(proof_of(request, form.client_id, form.client_secret))
    return token_answer(await request.app[GRANTS].poll(client, form.device_code))


@routes.get(
    "/auth/device/verify",
    query=VerifyQuery,
    returns=DeviceRequest,
    responses={403: OAuthProblem, 404: OAuthProblem, 409: OAuthProblem, 429: OAuthProblem},
    auth=Auth.REQUIRED,
    answer_error=oauth_answer,
    summary="See which device waits under a code",
)
async def verify(request: web.Request, query: VerifyQuery) -> web.Response:
    """What the person would approve. A wrong code counts as a guess."""
    asked = await request.app[GRANTS].look(_person(request), query.user_code)
    answer = DeviceRequest(
        client_id=asked.client_id,
        client_name=asked.client_name,
        scopes=sorted(asked.scopes),
        source=asked.source,
        requested_at=_moment(asked.begun_at),
        expires_at=_moment(asked.expires_at),
    )
    return respond(answer, headers=NO_STORE)


@routes.post(
    "/auth/device/approve",
    body=Decision,
    returns=DecisionAnswer,
    responses={403: OAuthProblem, 404: OAuthProblem, 409: OAuthProblem, 429: OAuthProblem},
    auth=Auth.REQUIRED,
    answer_error=oauth_answer,
    body_limit_bytes=4_096,
    summary="Approve or refuse a device",
)
async def approve(request: web.Request, body: Decision) -> web.Response:
    """With the token of a person, not of a program. The device gets its tokens, or the refusal, at its next poll."""
    await request.app[GRANTS].decide(_person(request), body.user_code, body.action)
    message = "the device is signed in" if body.action == "approve" else "the device was refused"
    code = shown(read_user_code(body.user_code) or "")
    return respond(DecisionAnswer(message=message, user_code=code), headers=NO_STORE)


def token_answer(pair: TokenPair) -> web.Response:
    """Tokens as the token endpoint answers them (RFC 6749 section 5.1)."""
    answer = TokenAnswer(
        access_token=pair.access_token,
        expires_in=pair.expires_in,
        refresh_token=pair.refresh_token,
        scope=pair.scope,
        id_token=pair.id_token,
    )
    # What was not issued is left out: clients refuse a null in its place (RFC 6749 section 5.1).
    body = to_bytes(answer, exclude_none=True)
    return web.Response(body=body, content_type="application/json", headers=NO_STORE)


def proof_of(request: web.Request, client_id: str | None, client_secret: str | None) -> ClientProof:
    """What a request says of the program that sends it."""
    return ClientProof(
        authorization=request.headers.get(hdrs.AUTHORIZATION),
        client_id=client_id,
        client_secret=client_secret,
    )


def _person(request: web.Request) -> Person:
    return Person(user_id=actor_of(request).user_id, source=source_of(request))


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
