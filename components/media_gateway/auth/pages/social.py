"""The way to a provider and back, and the page on which people link one with their account."""

import secrets
from typing import Annotated

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from media_gateway.auth.pages.layout import page
from media_gateway.auth.pages.sign_in import SECOND_STEPS, VISITORS, PageForm, ReturnQuery, error_page, see
from media_gateway.auth.pages.visitors import check_visitor_form, own_path, to_sign_in
from media_gateway.auth.second_factor import SecondFactors
from media_gateway.auth.services.social import EmailTakenError, Return, SocialSignIns
from media_gateway.auth.settings import Settings
from media_gateway.auth.social.asking import ProviderAwayError, SocialProvider
from media_gateway.auth.store.social_states import LIFE_S
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.web import Auth, RouteTable, source_of
from media_gateway.core.web.problems import status_of

SOCIAL = web.AppKey("social_sign_ins", SocialSignIns)
FACTORS = web.AppKey("social_second_factors", SecondFactors)
SETTINGS = web.AppKey("social_settings", Settings)

ANYWHERE_SAFE = "'self' https: http://127.0.0.1:* http://localhost:*"
"""The form leads on to the provider, and from one of its addresses to the next; browsers check each of them."""

routes = RouteTable(tag="pages")


class ProviderPath(BaseModel):
    """Which provider."""

    provider: Annotated[str, Field(max_length=40)]


class CallbackFields(BaseModel):
    """What a provider sends a browser back with (RFC 6749 sections 4.1.2 and 4.1.2.1)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: Annotated[str, Field(max_length=200)] = ""
    code: Annotated[str, Field(max_length=4_000)] | None = None
    error: Annotated[str, Field(max_length=200)] | None = None


def social_error_page(error: MediaGatewayError) -> web.Response:
    """An error as a page, with the way to the password."""
    status = int(status_of(error))
    if status >= 500 and not isinstance(error, ProviderAwayError):
        return error_page(error)
    link = "/auth/sign-in"
    if isinstance(error, EmailTakenError):
        link += f"?return_to=/auth/oauth/{error.details['provider']}/link"
    message = error.message[:1].upper() + error.message[1:]
    answer = page("social_error.html", status=status, message=message, link=link)
    if status == 503:
        answer.headers[hdrs.RETRY_AFTER] = "5"
    return answer


@routes.get(
    "/auth/oauth/{provider}/authorize",
    path=ProviderPath,
    query=ReturnQuery,
    auth=Auth.NONE,
    answer_error=social_error_page,
    hidden=True,
)
async def authorize(request: web.Request, path: ProviderPath, query: ReturnQuery) -> web.Response:
    """On to the provider; those who are signed in already go straight to where they wanted to be."""
    provider = request.app[SOCIAL].provider(path.provider)
    return_to = own_path(query.return_to)
    if await request.app[VISITORS].find(request) is not None:
        return see(return_to)
    browser = _browser(request, provider)
    address = await request.app[SOCIAL].begin(provider.name, browser=browser, return_to=return_to)
    return _sent_on(request, provider, address, browser)


@routes.get(
    "/auth/oauth/{provider}/callback",
    path=ProviderPath,
    query=CallbackFields,
    auth=Auth.NONE,
    answer_error=social_error_page,
    hidden=True,
)
async def callback(request: web.Request, path: ProviderPath, query: CallbackFields) -> web.Response:
    """Back from the provider."""
    return await _back(request, path.provider, query)


@routes.post(
    "/auth/oauth/{provider}/callback",
    path=ProviderPath,
    form=CallbackFields,
    auth=Auth.NONE,
    answer_error=social_error_page,
    body_limit_bytes=32_768,
    hidden=True,
)
async def posted_callback(request: web.Request, path: ProviderPath, form: CallbackFields) -> web.Response:
    """Back from a provider that sends a form (Apple)."""
    return await _back(request, path.provider, form)


@routes.get(
    "/auth/oauth/{provider}/link",
    path=ProviderPath,
    auth=Auth.NONE,
    answer_error=social_error_page,
    hidden=True,
)
async def show_link(request: web.Request, path: ProviderPath) -> web.Response:
    """Ask whether the provider is to be linked: only a click of the person does it, no address alone."""
    provider = request.app[SOCIAL].provider(path.provider)
    visitor = await request.app[VISITORS].find(request)
    if visitor is None:
        return to_sign_in(f"/auth/oauth/{provider.name}/link")
    return page(
        "social_link.html",
        form_action=ANYWHERE_SAFE,
        name=provider.name,
        title=provider.title,
        linked=False,
        form_secret=visitor.session.form_secret,
        account=visitor.subject.email,
    )


@routes.post(
    "/auth/oauth/{provider}/link",
    path=ProviderPath,
    form=PageForm,
    auth=Auth.NONE,
    answer_error=social_error_page,
    body_limit_bytes=8_192,
    hidden=True,
)
async def link(request: web.Request, path: ProviderPath, form: PageForm) -> web.Response:
    """On to the provider, to link who comes back with the account that is signed in now."""
    provider = request.app[SOCIAL].provider(path.provider)
    visitor = await request.app[VISITORS].find(request)
    if visitor is None:
        return to_sign_in(f"/auth/oauth/{provider.name}/link")
    check_visitor_form(visitor, form.form_secret)
    browser = _browser(request, provider)
    address = await request.app[SOCIAL].begin(
        provider.name, browser=browser, return_to="/device", link_to=visitor.subject.user_id
    )
    return _sent_on(request, provider, address, browser)


async def _back(request: web.Request, name: str, fields: CallbackFields) -> web.Response:
    provider = request.app[SOCIAL].provider(name)
    back = Return(
        state=fields.state,
        browser=request.cookies.get(_cookie(request, provider), ""),
        code=fields.code,
        error=fields.error,
        source=source_of(request),
        user_agent=request.headers.get(hdrs.USER_AGENT),
    )
    done = await request.app[SOCIAL].finish(name, back)
    if done.linked:
        return page("social_link.html", name=provider.name, title=provider.title, linked=True)
    visitors = request.app[VISITORS]
    if await request.app[FACTORS].is_needed(done.user_id):
        form_secret = visitors.form_secret(request)
        step = await request.app[SECOND_STEPS].start(done.user_id, browser=form_secret)
        answer = page("code.html", form_secret=form_secret, return_to=done.return_to, step=step, problem=None)
        visitors.remember(answer, form_secret)
        return answer
    answer = see(done.return_to)
    await visitors.sign_in(request, answer, done.user_id)
    return answer


def _browser(request: web.Request, provider: SocialProvider) -> str:
    # Kept, so that a second tab does not spoil the first.
    return request.cookies.get(_cookie(request, provider)) or secrets.token_urlsafe(32)


def _cookie(request: web.Request, provider: SocialProvider) -> str:
    prefix = "__Host-" if request.app[SETTINGS].is_https else ""
    return f"{prefix}mgw-social-{provider.name}"


def _sent_on(request: web.Request, provider: SocialProvider, address: str, browser: str) -> web.Response:
    answer = web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})
    secure = request.app[SETTINGS].is_https
    answer.set_cookie(
        _cookie(request, provider),
        browser,
        max_age=LIFE_S,
        path="/",
        httponly=True,
        secure=secure,
        # A form from the provider's page brings only cookies that say so, and browsers want those encrypted.
        samesite="None" if provider.posts_back and secure else "Lax",
    )
    return answer
