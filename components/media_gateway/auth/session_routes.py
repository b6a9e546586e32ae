"""Routes by which people see where they are signed in, and end it."""

from aiohttp import web

from media_gateway.auth.acting import actor_of
from media_gateway.auth.services.sessions import Sessions
from media_gateway.auth.session_schemas import SessionPath, SessionsView, SessionView
from media_gateway.core.web import Auth, RouteTable
from media_gateway.core.web.schemas import Problem

SESSIONS = web.AppKey("sessions", Sessions)

routes = RouteTable(tag="sessions")


@routes.get(
    "/api/v1/users/me/sessions",
    returns=SessionsView,
    responses={403: Problem},
    auth=Auth.REQUIRED,
    summary="Where I am signed in",
)
async def list_sessions(request: web.Request) -> SessionsView:
    """The clients that can get new tokens without the person. API keys are listed on their own."""
    actor = actor_of(request)
    items = [
        SessionView(
            id=one.id,
            client_id=one.client_id,
            client_name=one.client_name,
            scopes=sorted(one.scopes),
            created_at=one.created_at,
            last_used_at=one.used_at,
            current=one.id == actor.grant_id,
        )
        for one in await request.app[SESSIONS].of(actor)
    ]
    return SessionsView(items=items)


@routes.delete(
    "/api/v1/users/me/sessions/{session_id}",
    path=SessionPath,
    responses={403: Problem, 404: Problem},
    auth=Auth.REQUIRED,
    summary="Sign one client out",
)
async def end_session(request: web.Request, path: SessionPath) -> None:
    """All its tokens end; it may be the session that asks."""
    await request.app[SESSIONS].end(actor_of(request), path.session_id)


@routes.delete(
    "/api/v1/users/me/sessions",
    responses={403: Problem},
    auth=Auth.REQUIRED,
    summary="Sign all other clients out",
)
async def end_other_sessions(request: web.Request) -> None:
    """The session that asks stays."""
    await request.app[SESSIONS].end_others(actor_of(request))
