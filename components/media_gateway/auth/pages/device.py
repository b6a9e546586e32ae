"""The page ``/device``: type the code of a TV, see what asks for what, approve or refuse."""

import math
import time
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from media_gateway.auth.device_routes import GRANTS
from media_gateway.auth.pages.layout import page
from media_gateway.auth.pages.sign_in import VISITORS, PageForm, Text, error_page
from media_gateway.auth.pages.visitors import Visitor, check_visitor_form, to_sign_in
from media_gateway.auth.services.device import Person, Request
from media_gateway.auth.user_codes import read_user_code, shown
from media_gateway.core.errors import ConflictError, NotFoundError, RateLimitedError
from media_gateway.core.web import Auth, RouteTable, source_of

SCOPE_WORDS = {
    "openid": "Know which account is yours",
    "profile": "See your name",
    "email": "See your e-mail address",
    "offline_access": "Stay signed in until you end it",
    "account": "See and change your account",
    "read:content": "See films and series",
    "read:watchlist": "See your watchlist",
    "write:watchlist": "Change your watchlist",
    "admin": "Administer the platform",
    "playback:control": "Control playback on your devices",
}
"""What scopes mean to people; others are shown by their names."""


class CodeQuery(BaseModel):
    """The code of a link or QR code."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    user_code: Text = ""


class DeviceForm(PageForm):
    """A code, and what to do about it."""

    user_code: Text = ""
    action: Literal["look", "approve", "deny"] = "look"


routes = RouteTable(tag="pages")


@routes.get("/device", query=CodeQuery, auth=Auth.NONE, answer_error=error_page, hidden=True)
async def show(request: web.Request, query: CodeQuery) -> web.Response:
    """The form for the code. A code in the address is filled in and nothing more: people compare it first."""
    code = _tidy(query.user_code)
    visitor = await request.app[VISITORS].find(request)
    if visitor is None:
        return _to_sign_in(code)
    return _code_page(visitor, code=code)


@routes.post(
    "/device", form=DeviceForm, auth=Auth.NONE, answer_error=error_page, body_limit_bytes=8_192, hidden=True
)
async def act(request: web.Request, form: DeviceForm) -> web.Response:
    """Look at a code, approve it or refuse it."""
    visitor = await request.app[VISITORS].find(request)
    code = _tidy(form.user_code)
    if visitor is None:
        return _to_sign_in(code)
    check_visitor_form(visitor, form.form_secret)
    person = Person(user_id=visitor.subject.user_id, source=source_of(request))
    grants = request.app[GRANTS]
    try:
        if form.action == "look":
            return _confirm_page(visitor, code, await grants.look(person, code))
        asked = await grants.decide(person, code, form.action)
    except NotFoundError:
        wrong = "There is no device with this code. It may have expired: see if the TV shows a new one."
        return _code_page(visitor, code=code, status=404, problem=wrong)
    except RateLimitedError as error:
        minutes = math.ceil((error.retry_after_ms or 60_000) / 60_000)
        wrong = f"Too many wrong codes. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}."
        answer = _code_page(visitor, code=code, status=429, problem=wrong)
        answer.headers["Retry-After"] = str(math.ceil((error.retry_after_ms or 60_000) / 1000))
        return answer
    except ConflictError as error:
        return page("done.html", status=409, approved=error.details["approved"], again=True, app=None)
    return page("done.html", approved=form.action == "approve", again=False, app=asked.client_name)


def _tidy(text: str) -> str:
    code = read_user_code(text)
    return shown(code) if code else text[:32]


def _to_sign_in(code: str) -> web.Response:
    return to_sign_in(f"/device?user_code={quote(code, safe='')}" if code else "/device")


def _code_page(visitor: Visitor, *, code: str, status: int = 200, problem: str | None = None) -> web.Response:
    return page(
        "device.html",
        status=status,
        form_secret=visitor.session.form_secret,
        account=visitor.subject.email,
        code=code,
        problem=problem,
    )


def _confirm_page(visitor: Visitor, code: str, asked: Request) -> web.Response:
    return page(
        "confirm.html",
        form_secret=visitor.session.form_secret,
        account=visitor.subject.email,
        code=code,
        app=asked.client_name,
        source=asked.source,
        asked_at=datetime.fromtimestamp(asked.begun_at, UTC).strftime("%-d %B %Y, %H:%M UTC"),
        ago=ago(time.time() - asked.begun_at),
        scopes=[SCOPE_WORDS.get(scope, scope) for scope in sorted(asked.scopes)],
    )


def ago(seconds: float) -> str:
    """How long ago something was, in words."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "less than a minute ago"
    return f"{minutes} {'minute' if minutes == 1 else 'minutes'} ago"
