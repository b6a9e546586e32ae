"""The authorization endpoint: a person, sent here by a program, signs in, sees what is asked for, and agrees or not."""

import time
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from media_gateway.auth.clients import origin_of
from media_gateway.auth.pages.device import SCOPE_WORDS
from media_gateway.auth.pages.layout import page
from media_gateway.auth.pages.sign_in import VISITORS, LongText, PageForm, error_page
from media_gateway.auth.pages.visitors import Visitor, check_visitor_form, to_sign_in
from media_gateway.auth.services.authorizing import AuthorizationRequest, Authorizing, RefusedRequestError
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.web import Auth, Limits, RouteTable

AUTHORIZING = web.AppKey("authorizing", Authorizing)


class ConsentForm(PageForm):
    """What the person decides; ``request`` is the query of the authorization request, and is checked again."""

    request: LongText = ""
    action: Literal["approve", "deny"] = "deny"


routes = RouteTable(tag="pages")


def answer_error(error: MediaGatewayError) -> web.Response:
    """Back to the program if its address is known to be good, else a page of ours (RFC 6749 section 4.1.2.1)."""
    if isinstance(error, RefusedRequestError):
        return _see_other(error.return_to)
    return error_page(error)


@routes.get(
    "/auth/authorize",
    auth=Auth.NONE,
    limits=Limits("authorize"),
    answer_error=answer_error,
    summary="Ask a person for tokens, in a browser",
)
async def ask(request: web.Request) -> web.Response:
    """Where programs send people (RFC 6749 section 4.1.1). PKCE with S256 is required."""
    wanted = await request.app[AUTHORIZING].read(request.rel_url.raw_query_string)
    visitor = await request.app[VISITORS].find(request)
    if visitor is None or _too_long_ago(visitor, wanted) or "login" in wanted.prompts:
        if "none" in wanted.prompts:
            raise _refused(request, wanted, "login_required", "nobody is signed in")
        return await _sign_in_first(request, visitor, wanted)
    if "none" in wanted.prompts:
        raise _refused(request, wanted, "consent_required", "the person has to agree each time")
    return _consent_page(visitor, wanted)


@routes.post(
    "/auth/authorize",
    form=ConsentForm,
    auth=Auth.NONE,
    limits=Limits("authorize"),
    answer_error=answer_error,
    body_limit_bytes=32_768,
    hidden=True,
)
async def decide(request: web.Request, form: ConsentForm) -> web.Response:
    """Back to the program, with a code or with the refusal."""
    wanted = await request.app[AUTHORIZING].read(form.request)
    visitor = await request.app[VISITORS].find(request)
    if visitor is None:
        return to_sign_in(f"/auth/authorize?{wanted.query}")
    check_visitor_form(visitor, form.form_secret)
    if form.action == "deny":
        raise _refused(request, wanted, "access_denied", "the person refused")
    back = await request.app[AUTHORIZING].allow(
        wanted, visitor.subject, signed_in_at=visitor.session.signed_in_at
    )
    return _see_other(back)


def _too_long_ago(visitor: Visitor, wanted: AuthorizationRequest) -> bool:
    return wanted.max_age_s is not None and time.time() - visitor.session.signed_in_at > wanted.max_age_s


async def _sign_in_first(
    request: web.Request, visitor: Visitor | None, wanted: AuthorizationRequest
) -> web.Response:
    # The wish to sign in anew is fulfilled by the sign-in that follows; kept, it would be so for ever.
    fields = [pair for pair in parse_qsl(wanted.query, keep_blank_values=True) if pair[0] != "prompt"]
    answer = to_sign_in(f"/auth/authorize?{urlencode(fields)}")
    if visitor is not None:
        await request.app[VISITORS].sign_out(answer, visitor)
    return answer


def _refused(
    request: web.Request, wanted: AuthorizationRequest, error: str, text: str
) -> RefusedRequestError:
    return request.app[AUTHORIZING].refused(wanted.redirect_uri, wanted.state, error, text)


def _consent_page(visitor: Visitor, wanted: AuthorizationRequest) -> web.Response:
    origin = origin_of(wanted.redirect_uri)
    # A policy can't name an IPv6 address (Content Security Policy section 2.3.1), so of [::1] its scheme has to do.
    onward = "http:" if origin.startswith("http://[") else origin
    return page(
        "consent.html",
        form_action=f"'self' {onward}",
        form_secret=visitor.session.form_secret,
        account=visitor.subject.email,
        request=wanted.query,
        app=wanted.client.name,
        origin=origin.removeprefix("https://"),
        scopes=[SCOPE_WORDS.get(scope, scope) for scope in sorted(wanted.scopes & visitor.subject.scopes)],
    )


def _see_other(location: str) -> web.Response:
    # 303, so that the form is not sent on to the program (RFC 9700 section 4.12).
    return web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
