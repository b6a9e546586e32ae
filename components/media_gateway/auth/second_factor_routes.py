"""Routes by which people get, and lose, a second factor."""

from aiohttp import web

from media_gateway.auth.acting import actor_of
from media_gateway.auth.second_factor_schemas import (
    BackupCodesView,
    CodeBody,
    EnrolmentView,
    FactorStateView,
)
from media_gateway.auth.services.second_factors import AppSecondFactors
from media_gateway.core.web import Auth, RouteTable, respond
from media_gateway.core.web.schemas import Problem

FACTORS = web.AppKey("second_factors", AppSecondFactors)

NO_STORE = {"Cache-Control": "no-store"}

routes = RouteTable(tag="second factors")


@routes.post(
    "/api/v1/mfa/enroll",
    returns=EnrolmentView,
    responses={403: Problem, 409: Problem},
    status=201,
    auth=Auth.REQUIRED,
    summary="Offer an authenticator app",
)
async def enroll(request: web.Request) -> web.Response:
    """A new secret for the app. Sign-ins do not change until a code of it is sent to ``/api/v1/mfa/verify``."""
    made = await request.app[FACTORS].enrol(actor_of(request))
    return respond(EnrolmentView(secret=made.secret, otpauth_uri=made.uri), status=201, headers=NO_STORE)


@routes.post(
    "/api/v1/mfa/verify",
    body=CodeBody,
    returns=BackupCodesView,
    responses={400: Problem, 403: Problem, 409: Problem, 429: Problem},
    auth=Auth.REQUIRED,
    body_limit_bytes=4_096,
    summary="Switch the second factor on",
)
async def verify(request: web.Request, body: CodeBody) -> web.Response:
    """With a code of the enrolled app. The backup codes in the answer are told this once."""
    codes = await request.app[FACTORS].confirm(actor_of(request), body.code)
    return respond(BackupCodesView(backup_codes=codes), headers=NO_STORE)


@routes.get(
    "/api/v1/mfa/state", returns=FactorStateView, auth=Auth.REQUIRED, summary="How the second factor stands"
)
async def state(request: web.Request) -> FactorStateView:
    """Whether there is one, and how many backup codes are left."""
    return FactorStateView.model_validate(await request.app[FACTORS].state(actor_of(request)))


@routes.post(
    "/api/v1/mfa/disable",
    body=CodeBody,
    responses={400: Problem, 403: Problem, 409: Problem, 429: Problem},
    auth=Auth.REQUIRED,
    body_limit_bytes=4_096,
    summary="Switch the second factor off",
)
async def disable(request: web.Request, body: CodeBody) -> None:
    """With a code of the app, or a backup code. All backup codes go with it."""
    await request.app[FACTORS].disable(actor_of(request), body.code)


@routes.post(
    "/api/v1/mfa/backup-codes",
    body=CodeBody,
    returns=BackupCodesView,
    responses={400: Problem, 403: Problem, 409: Problem, 429: Problem},
    auth=Auth.REQUIRED,
    body_limit_bytes=4_096,
    summary="New backup codes",
)
async def renew_backup_codes(request: web.Request, body: CodeBody) -> web.Response:
    """In place of all old ones."""
    codes = await request.app[FACTORS].renew_codes(actor_of(request), body.code)
    return respond(BackupCodesView(backup_codes=codes), headers=NO_STORE)
