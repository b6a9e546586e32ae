"""The pages on which people sign in and out, the style sheet, and how errors look there."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Protocol
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from media_gateway.auth.pages.layout import page
from media_gateway.auth.pages.visitors import Visitors, check_visitor_form, own_path, to_sign_in
from media_gateway.auth.store.second_step import SecondSteps
from media_gateway.core.errors import MediaGatewayError, RateLimitedError
from media_gateway.core.web import Auth, Limits, RouteTable, source_of
from media_gateway.core.web.problems import problem_response

Text = Annotated[str, Field(max_length=2_000)]

LongText = Annotated[str, Field(max_length=8_000)]
"""An address with an authorization request in it."""

WRONG = "The e-mail address or the password is not right."
"""One text for both, so that nobody learns who has an account."""


class PasswordResult(Protocol):
    """A right password."""

    @property
    def user_id(self) -> UUID:
        """Whose."""

    @property
    def needs_second_factor(self) -> bool:
        """Whether a code is asked for next."""


class Login(Protocol):
    """Checks passwords and codes. Kept by the accounts."""

    async def check(self, email: str, password: str, *, source: str) -> PasswordResult | None:
        """The account, or None for a wrong address or password, after the same time.

        Raises
        ------
        RateLimitedError
            Too many tries.
        """

    async def check_second_factor(self, user_id: UUID, code: str) -> bool:
        """Whether it is a code of the person's app, or an unused backup code."""


class PageForm(BaseModel):
    """Base of the pages' forms."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    form_secret: Text = ""
    return_to: LongText | None = None


class SignInForm(PageForm):
    """E-mail address and password."""

    email: Text = ""
    password: Text = ""


class CodeForm(PageForm):
    """The second factor."""

    step: Text = ""
    code: Text = ""


@dataclass(frozen=True, slots=True)
class OtherWay:
    """A provider that people may sign in with instead, as the button for it says."""

    name: str
    title: str


class ReturnQuery(BaseModel):
    """Where to go afterwards."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    return_to: LongText | None = None


VISITORS = web.AppKey("visitors", Visitors)
LOGIN = web.AppKey("login", Login)
OTHER_WAYS = web.AppKey("other_ways", tuple[OtherWay, ...])
"""Put here while wiring; without it there is the password alone."""
SECOND_STEPS = web.AppKey("second_steps", SecondSteps)

routes = RouteTable(tag="pages")


def error_page(error: MediaGatewayError) -> web.Response:
    """An error as a page."""
    problem = problem_response(error)
    status = problem.status
    text = error.message if status < 500 else "This does not work at the moment. Please try again soon."
    answer = page("error.html", status=status, message=text[:1].upper() + text[1:])
    if "Retry-After" in problem.headers:
        answer.headers["Retry-After"] = problem.headers["Retry-After"]
    return answer


@routes.get("/auth/style.css", auth=Auth.NONE, hidden=True)
async def style(_request: web.Request) -> web.Response:
    """What all pages look like."""
    body = files(__package__).joinpath("static", "style.css").read_bytes()
    headers = {"Cache-Control": "public, max-age=300"}
    return web.Response(body=body, content_type="text/css", charset="utf-8", headers=headers)


@routes.get("/auth/sign-in", query=ReturnQuery, auth=Auth.NONE, answer_error=error_page, hidden=True)
async def show_sign_in(request: web.Request, query: ReturnQuery) -> web.Response:
    """The form, or straight on for those who are signed in."""
    return_to = own_path(query.return_to)
    if await request.app[VISITORS].find(request) is not None:
        return see(return_to)
    return _sign_in_page(request, return_to=return_to)


@routes.post(
    "/auth/sign-in",
    form=SignInForm,
    auth=Auth.NONE,
    limits=Limits("login"),
    answer_error=error_page,
    body_limit_bytes=16_384,
    hidden=True,
)
async def sign_in(request: web.Request, form: SignInForm) -> web.Response:
    """Check the password; on to the second factor or to where the person wanted to go."""
    visitors = request.app[VISITORS]
    visitors.check_form(request, form.form_secret)
    return_to = own_path(form.return_to)
    try:
        found = await request.app[LOGIN].check(form.email, form.password, source=source_of(request))
    except RateLimitedError as error:
        answer = _sign_in_page(
            request,
            status=429,
            return_to=return_to,
            email=form.email,
            problem="Too many tries. Please wait a while.",
        )
        answer.headers.update({"Retry-After": error_page(error).headers.get("Retry-After", "60")})
        return answer
    if found is None:
        return _sign_in_page(request, status=401, return_to=return_to, email=form.email, problem=WRONG)
    if found.needs_second_factor:
        step = await request.app[SECOND_STEPS].start(found.user_id, browser=form.form_secret)
        return page("code.html", form_secret=form.form_secret, return_to=return_to, step=step, problem=None)
    return await _signed_in(request, found.user_id, return_to)


@routes.post(
    "/auth/sign-in/code",
    form=CodeForm,
    auth=Auth.NONE,
    limits=Limits("login"),
    answer_error=error_page,
    body_limit_bytes=16_384,
    hidden=True,
)
async def second_factor(request: web.Request, form: CodeForm) -> web.Response:
    """Check the second factor, a few times at most."""
    request.app[VISITORS].check_form(request, form.form_secret)
    steps = request.app[SECOND_STEPS]
    return_to = own_path(form.return_to)
    user_id = await steps.try_once(form.step, browser=form.form_secret)
    if user_id is None:
        return _sign_in_page(
            request,
            status=401,
            return_to=return_to,
            problem="That took too long or too many tries. Please begin again.",
        )
    if not await request.app[LOGIN].check_second_factor(user_id, form.code):
        return page(
            "code.html",
            status=401,
            form_secret=form.form_secret,
            return_to=return_to,
            step=form.step,
            problem="This code is not right.",
        )
    await steps.end(form.step, browser=form.form_secret)
    return await _signed_in(request, user_id, return_to)


@routes.post("/auth/sign-out", form=PageForm, auth=Auth.NONE, answer_error=error_page, hidden=True)
async def sign_out(request: web.Request, form: PageForm) -> web.Response:
    """End the session of this browser."""
    visitors = request.app[VISITORS]
    answer = to_sign_in(own_path(form.return_to))
    visitor = await visitors.find(request)
    if visitor is not None:
        check_visitor_form(visitor, form.form_secret)
        await visitors.sign_out(answer, visitor)
    return answer


async def _signed_in(request: web.Request, user_id: UUID, return_to: str) -> web.Response:
    answer = see(return_to)
    await request.app[VISITORS].sign_in(request, answer, user_id)
    return answer


def see(path: str) -> web.Response:
    """Send a browser to a path of ours."""
    location = quote(path, safe="/?&=%:@!$'()*+,;~-._")
    return web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})


def _sign_in_page(
    request: web.Request, *, return_to: str, status: int = 200, email: str = "", problem: str | None = None
) -> web.Response:
    visitors = request.app[VISITORS]
    form_secret = visitors.form_secret(request)
    answer = page(
        "sign_in.html",
        status=status,
        form_secret=form_secret,
        return_to=return_to,
        email=email,
        problem=problem,
        other_ways=request.app.get(OTHER_WAYS, ()),
    )
    visitors.remember(answer, form_secret)
    return answer
