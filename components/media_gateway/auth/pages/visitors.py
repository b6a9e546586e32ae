"""Who sits at a browser: cookies to sessions and back, and the secrets that forms must repeat."""

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from aiohttp import web

from media_gateway.auth.browser import BrowserSession, BrowserSessions
from media_gateway.auth.settings import Settings
from media_gateway.auth.subjects import Subject, Subjects
from media_gateway.core.errors import PermissionDeniedError

_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%?-][A-Za-z0-9._~!$&'()*+,;=:@%?/-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A person who is signed in with a browser."""

    session_id: str
    session: BrowserSession
    subject: Subject


class Visitors:
    """The people at the pages."""

    def __init__(self, sessions: BrowserSessions, subjects: Subjects, settings: Settings) -> None:
        self._sessions = sessions
        self._subjects = subjects
        self._secure = settings.is_https
        self._life_s = round(settings.browser_session_h * 3600)
        prefix = "__Host-" if settings.is_https else ""
        self._session_cookie = f"{prefix}mgw-session"
        self._form_cookie = f"{prefix}mgw-form"

    async def find(self, request: web.Request) -> Visitor | None:
        """Who is signed in; None if nobody is, or if the account has been locked since."""
        session_id = request.cookies.get(self._session_cookie)
        session = await self._sessions.find(session_id) if session_id else None
        if session is None or session_id is None:
            return None
        subject = await self._subjects.find(session.user_id)
        if subject is None or not subject.enabled:
            await self._sessions.end(session_id)
            return None
        return Visitor(session_id=session_id, session=session, subject=subject)

    async def sign_in(self, request: web.Request, response: web.Response, user_id: UUID) -> None:
        """Begin a session of its own for this browser; one that it had before ends."""
        if before := request.cookies.get(self._session_cookie):
            await self._sessions.end(before)
        session_id, _ = await self._sessions.start(user_id, now=time.time())
        self._set(response, self._session_cookie, session_id, self._life_s)
        self._set(response, self._form_cookie, "", 0)

    async def sign_out(self, response: web.Response, visitor: Visitor) -> None:
        """End the session."""
        await self._sessions.end(visitor.session_id)
        self._set(response, self._session_cookie, "", 0)

    def form_secret(self, request: web.Request) -> str:
        """What a form of a browser that nobody is signed in with must repeat: the value of its cookie."""
        return request.cookies.get(self._form_cookie) or secrets.token_urlsafe(32)

    def remember(self, response: web.Response, form_secret: str) -> None:
        """Give the browser the cookie of `form_secret`."""
        self._set(response, self._form_cookie, form_secret, 3600)

    def check_form(self, request: web.Request, form_secret: str) -> None:
        """Let only forms through that we made for this browser, so that nobody is signed in as somebody else.

        Raises
        ------
        PermissionDeniedError
            From elsewhere, or too old.
        """
        cookie = request.cookies.get(self._form_cookie, "")
        if not cookie or not hmac.compare_digest(cookie.encode(), form_secret.encode(errors="replace")):
            raise PermissionDeniedError(
                "This form is too old or was not opened here. Please open the page again."
            )

    def _set(self, response: web.Response, name: str, value: str, life_s: int) -> None:
        response.set_cookie(
            name, value, max_age=life_s, path="/", httponly=True, samesite="Lax", secure=self._secure
        )


def check_visitor_form(visitor: Visitor, form_secret: str) -> None:
    """As `Visitors.check_form`, for people who are signed in.

    Raises
    ------
    PermissionDeniedError
        From elsewhere, or from before the sign-in.
    """
    if not visitor.session.made(form_secret):
        raise PermissionDeniedError(
            "This form is too old or was not opened here. Please open the page again."
        )


MAX_PATH = 7_000
"""Characters of a path of ours: an authorization request, and the encoding of it."""


def own_path(text: str | None) -> str:
    """Where to go after the sign-in: a path of ours, whatever was asked for."""
    return text if text is not None and len(text) <= MAX_PATH and _OWN_PATH.fullmatch(text) else "/device"


def to_sign_in(return_to: str) -> web.Response:
    """Send a browser to the sign-in, and back afterwards."""
    return web.Response(
        status=303,
        headers={
            "Location": f"/auth/sign-in?return_to={quote(return_to, safe='/')}",
            "Cache-Control": "no-store",
        },
    )
