"""Routes of the device grant. What a device sends is a form; what a person's program sends is JSON with a token."""

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

from aiohttp import hdrs, web

from media_gateway.auth.device_ports import ClientDirectory, ClientProof, TokenPair
from media_gateway.auth.device_schemas import (
    Decision,
    DecisionAnswer,
    DeviceAnswer,
    DeviceForm,
    DeviceRequest,
    OAuthProblem,
    PollForm,
    PollQuery,
    TokenAnswer,
    VerifyQuery,
)
from media_gateway.auth.services.device import GRANT_TYPE, DeviceGrantError, DeviceGrants, Person
from media_gateway.auth.settings import Settings
from media_gateway.auth.user_codes import read_user_code, shown
from media_gateway.core.errors import (
    ConflictError,
    InvalidInputError,
    MediaGatewayError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)
from media_gateway.core.web import CALLER, Auth, RouteTable, respond
from media_gateway.core.web.problems import problem_response, status_of

GRANTS = web.AppKey("device_grants", DeviceGrants)
CLIENTS = web.AppKey("device_clients", ClientDirectory)
SETTINGS = web.AppKey("device_settings", Settings)

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_NAMES = {
    InvalidInputError: "invalid_request",
    UnauthenticatedError: "invalid_token",
    PermissionDeniedError: "access_denied",
    NotFoundError: "not_found",
    ConflictError: "already_decided",
    RateLimitedError: "rate_limit_exceeded",
}

routes = RouteTable(tag="device grant")


def oauth_answer(error: MediaGatewayError) -> web.Response:
    """An error in OAuth's shape; status and headers as in any answer of ours."""
    answer = problem_response(error)
    named = (_NAMES[kind] for kind in type(error).__mro__ if kind in _NAMES)
    name = next(named, "temporarily_unavailable" if error.retryable else "server_error")
    if isinstance(error, DeviceGrantError):
        name = error.error
    status = 400 if isinstance(error, DeviceGrantError) else int(status_of(error))
    kept = {
        key: value for key, value in answer.headers.items() if key in {"Retry-After", hdrs.WWW_AUTHENTICATE}
    }
    body = OAuthProblem(error=name, error_description=error.message)
    return respond(body, status=status, headers={**kept, **NO_STORE})


def poll_answer(error: MediaGatewayError) -> web.Response:
    """As `oauth_answer`, but over a limit says ``slow_down``: clients give up at a 429 that says anything else."""
    if isinstance(error, RateLimitedError):
        held = oauth_answer(error)
        body = OAuthProblem(error="slow_down", error_description=error.message)
        return respond(
            body,
            status=held.status,
            headers={"Retry-After": held.headers.get("Retry-After", "5"), **NO_STORE},
        )
    return oauth_answer(error)


@routes.post(
    "/auth/device",
    form=DeviceForm,
    returns=DeviceAnswer,
    responses={400: OAuthProblem, 401: OAuthProblem},
    auth=Auth.NONE,
    answer_error=oauth_answer,
    body_limit_bytes=8_192,
    summary="Begin to sign in a device",
)
async def begin(request: web.Request, form: DeviceForm) -> web.Response:
    """Codes for a device that can't open a browser (RFC 8628 section 3.1)."""
    client = await request.app[CLIENTS].authenticate(_proof(request, form.client_id, form.client_secret))
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
    responses={400: OAuthProblem, 401: OAuthProblem, 429: OAuthProblem},
    auth=Auth.NONE,
    answer_error=poll_answer,
    body_limit_bytes=8_192,
    summary="Ask whether a device was approved",
)
async def poll(request: web.Request, form: PollForm) -> web.Response:
    """As the token endpoint with the grant type of devices, under the address that older clients know."""
    if form.grant_type not in {None, GRANT_TYPE}:
        raise DeviceGrantError("unsupported_grant_type", f"grant_type: only {GRANT_TYPE} is known here")
    return await answer_poll(request, form)


@routes.get(
    "/auth/device/poll",
    query=PollQuery,
    returns=TokenAnswer,
    responses={400: OAuthProblem, 401: OAuthProblem, 429: OAuthProblem},
    auth=Auth.NONE,
    answer_error=poll_answer,
    summary="Ask whether a device was approved (old clients)",
)
async def poll_by_get(request: web.Request, query: PollQuery) -> web.Response:
    """As with POST. A client that does not name itself is taken for the public one whose code it is."""
    client_id = query.client_id
    if client_id is None and hdrs.AUTHORIZATION not in request.headers:
        client_id = await request.app[GRANTS].client_of(query.device_code)
        if client_id is None:
            raise DeviceGrantError("invalid_grant", "device_code: not a code that can be redeemed")
    return await answer_poll(request, PollForm(device_code=query.device_code, client_id=client_id))


async def answer_poll(request: web.Request, form: PollForm) -> web.Response:
    """The one handler of polls, behind the token endpoint, too."""
    client = await request.app[CLIENTS].authenticate(_proof(request, form.client_id, form.client_secret))
    return _tokens(await request.app[GRANTS].poll(client, form.device_code))


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


def source_of(request: web.Request) -> str:
    """Address that a request comes from."""
    return request.remote or "unknown"


def _tokens(pair: TokenPair) -> web.Response:
    answer = TokenAnswer(
        access_token=pair.access_token,
        expires_in=pair.expires_in,
        refresh_token=pair.refresh_token,
        scope=pair.scope,
    )
    return respond(answer, headers=NO_STORE)


def _proof(request: web.Request, client_id: str | None, client_secret: str | None) -> ClientProof:
    return ClientProof(
        authorization=request.headers.get(hdrs.AUTHORIZATION),
        client_id=client_id,
        client_secret=client_secret,
    )


def _person(request: web.Request) -> Person:
    caller = request[CALLER]
    # RFC 9068 section 2.2: the subject of a token for a program is the program.
    if caller.claims.get("client_id") == caller.subject:
        raise PermissionDeniedError("only a person can decide this: the token is a program's")
    try:
        user_id = UUID(caller.subject)
    except ValueError:
        raise PermissionDeniedError("only a person can decide this: the token is a program's") from None
    return Person(user_id=user_id, source=source_of(request))


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
