"""Routes of registering, signing in and mailed links."""

from aiohttp import web

from media_gateway.auth.account_schemas import (
    EmailBody,
    Message,
    RegisterBody,
    ResetBody,
    SessionTokens,
    SignInBody,
    TokenBody,
)
from media_gateway.auth.granting import TokenPair
from media_gateway.auth.requests import origin_of
from media_gateway.auth.services.mailed_links import MailedLinks
from media_gateway.auth.services.registration import NewAccount, Registration
from media_gateway.auth.services.sign_in import Credentials, SignIn
from media_gateway.core.web import Auth, Limits, RouteTable, respond, source_of

REGISTRATION = web.AppKey("registration", Registration)
SIGN_IN = web.AppKey("sign_in_service", SignIn)
LINKS = web.AppKey("mailed_links", MailedLinks)

NO_STORE = {"Cache-Control": "no-store"}
MAILED = Message(message="If that address can be written to, a mail is on its way.")
"""One answer whatever the address is, so that nobody learns who has an account."""

routes = RouteTable(tag="accounts")


def tokens_answer(pair: TokenPair) -> web.Response:
    """Tokens as JSON that nothing keeps."""
    answer = SessionTokens(
        access_token=pair.access_token,
        expires_in=pair.expires_in,
        refresh_token=pair.refresh_token,
        scope=pair.scope,
    )
    return respond(answer, headers=NO_STORE)


@routes.post(
    "/api/v1/auth/register",
    body=RegisterBody,
    returns=Message,
    status=202,
    auth=Auth.NONE,
    limits=Limits("register"),
    body_limit_bytes=8_192,
    summary="Register",
)
async def register(request: web.Request, body: RegisterBody) -> Message:
    """The answer is the same whether or not the address has an account; the mail says which."""
    new = NewAccount(
        email=body.email,
        password=body.password,
        display_name=body.display_name,
        origin=origin_of(request),
    )
    await request.app[REGISTRATION].register(new)
    return MAILED


@routes.post(
    "/api/v1/auth/login",
    body=SignInBody,
    returns=SessionTokens,
    auth=Auth.NONE,
    limits=Limits("login"),
    body_limit_bytes=8_192,
    summary="Sign in with a password",
)
async def login(request: web.Request, body: SignInBody) -> web.Response:
    """A 401 with `second_factor_needed` asks for the same again with a second factor."""
    given = Credentials(
        email=body.email,
        password=body.password,
        second_factor=body.second_factor,
        source=source_of(request),
    )
    return tokens_answer(await request.app[SIGN_IN].sign_in(given))


@routes.post(
    "/api/v1/auth/verify-email",
    body=TokenBody,
    returns=Message,
    auth=Auth.NONE,
    limits=Limits("login"),
    body_limit_bytes=4_096,
    summary="Confirm an address",
)
async def verify_email(request: web.Request, body: TokenBody) -> Message:
    """With the token of the mail."""
    await request.app[LINKS].verify_email(body.token, origin_of(request))
    return Message(message="The address is confirmed.")


@routes.post(
    "/api/v1/auth/resend-verification",
    body=EmailBody,
    returns=Message,
    status=202,
    auth=Auth.NONE,
    limits=Limits("login"),
    body_limit_bytes=4_096,
    summary="Mail another link that confirms an address",
)
async def resend_verification(request: web.Request, body: EmailBody) -> Message:
    """The answer is the same for every address."""
    await request.app[LINKS].resend_verification(body.email)
    return MAILED


@routes.post(
    "/api/v1/auth/password/forgot",
    body=EmailBody,
    returns=Message,
    status=202,
    auth=Auth.NONE,
    limits=Limits("login"),
    body_limit_bytes=4_096,
    summary="Mail a link that sets a new password",
)
async def forgot_password(request: web.Request, body: EmailBody) -> Message:
    """The answer is the same for every address; three mails an hour are sent to one."""
    await request.app[LINKS].forgot_password(body.email)
    return MAILED


@routes.post(
    "/api/v1/auth/password/reset",
    body=ResetBody,
    returns=Message,
    auth=Auth.NONE,
    limits=Limits("login"),
    body_limit_bytes=8_192,
    summary="Set a new password",
)
async def reset_password(request: web.Request, body: ResetBody) -> Message:
    """With the token of the mail. All sessions and tokens end."""
    await request.app[LINKS].reset_password(body.token, body.password, origin_of(request))
    return Message(message="The password is set. Sign in with it.")
