"""The pages that links in mails lead to. Opening one changes nothing: mail scanners open them, too."""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from media_gateway.auth.account_routes import LINKS
from media_gateway.auth.pages.layout import page
from media_gateway.auth.pages.sign_in import VISITORS, PageForm, Text, error_page
from media_gateway.auth.requests import origin_of
from media_gateway.core.errors import InvalidInputError
from media_gateway.core.web import Auth, Limits, RouteTable


class LinkQuery(BaseModel):
    """The token of a link."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    token: Text = ""


class VerifyForm(PageForm):
    """Confirm an address."""

    token: Text = ""


class NewPasswordForm(PageForm):
    """Set a password."""

    token: Text = ""
    password: Text = ""


routes = RouteTable(tag="pages")


@routes.get("/auth/verify-email", query=LinkQuery, auth=Auth.NONE, answer_error=error_page, hidden=True)
async def show_verify(request: web.Request, query: LinkQuery) -> web.Response:
    """A button."""
    return _form(request, "verify_email.html", token=query.token)


@routes.post(
    "/auth/verify-email",
    form=VerifyForm,
    auth=Auth.NONE,
    limits=Limits("login"),
    answer_error=error_page,
    body_limit_bytes=8_192,
    hidden=True,
)
async def verify(request: web.Request, form: VerifyForm) -> web.Response:
    """Confirm the address."""
    request.app[VISITORS].check_form(request, form.form_secret)
    await request.app[LINKS].verify_email(form.token, origin_of(request))
    return page("link_done.html", title="Confirmed", text="Your e-mail address is confirmed.")


@routes.get("/auth/reset-password", query=LinkQuery, auth=Auth.NONE, answer_error=error_page, hidden=True)
async def show_reset(request: web.Request, query: LinkQuery) -> web.Response:
    """The form for the new password."""
    return _form(request, "reset_password.html", token=query.token, problems=[])


@routes.post(
    "/auth/reset-password",
    form=NewPasswordForm,
    auth=Auth.NONE,
    limits=Limits("login"),
    answer_error=error_page,
    body_limit_bytes=16_384,
    hidden=True,
)
async def reset(request: web.Request, form: NewPasswordForm) -> web.Response:
    """Set the password, or say what is wrong with it."""
    request.app[VISITORS].check_form(request, form.form_secret)
    try:
        await request.app[LINKS].reset_password(form.token, form.password, origin_of(request))
    except InvalidInputError as error:
        faults = [f"The password {wrong.message}." for wrong in error.errors if wrong.field == "password"]
        if not faults:
            raise
        return _form(request, "reset_password.html", status=400, token=form.token, problems=faults)
    text = "Your new password is set, and everybody was signed out. Sign in with it."
    return page("link_done.html", title="Done", text=text)


def _form(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    visitors = request.app[VISITORS]
    form_secret = visitors.form_secret(request)
    answer = page(template, status=status, form_secret=form_secret, **values)
    visitors.remember(answer, form_secret)
    return answer
