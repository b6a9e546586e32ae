"""Routes of administration, for tokens with the scope `admin`. Nobody acts as somebody else."""

from uuid import UUID

from aiohttp import web

from media_gateway.auth.admin_schemas import (
    AdminView,
    AuditPage,
    AuditQuery,
    AuditView,
    UserChange,
    UserPage,
    UserPath,
    UserQuery,
)
from media_gateway.auth.requests import origin_of
from media_gateway.auth.services.administration import AccountChange, Admin, Administration
from media_gateway.auth.store.audit_pages import AuditFilter, AuditPages
from media_gateway.auth.store.profiles import ProfileRow
from media_gateway.core.web import CALLER, Auth, RouteTable

ADMINISTRATION = web.AppKey("administration", Administration)
AUDIT_PAGES = web.AppKey("audit_pages", AuditPages)

ADMIN = Auth.scope("admin")

routes = RouteTable(tag="administration of accounts")


@routes.get("/api/v1/admin/users", query=UserQuery, returns=UserPage, auth=ADMIN, summary="List accounts")
async def users(request: web.Request, query: UserQuery) -> UserPage:
    """Newest first."""
    found = await request.app[ADMINISTRATION].page(
        before=query.cursor, prefix=query.email_prefix, locked=query.locked, limit=query.limit + 1
    )
    shown = found[: query.limit]
    more = len(found) > len(shown)
    return UserPage(users=[_view(row) for row in shown], next_cursor=shown[-1].user_id if more else None)


@routes.get(
    "/api/v1/admin/users/{user_id}", path=UserPath, returns=AdminView, auth=ADMIN, summary="Show an account"
)
async def user(request: web.Request, path: UserPath) -> AdminView:
    """As of now."""
    return _view(await request.app[ADMINISTRATION].find(path.user_id))


@routes.patch(
    "/api/v1/admin/users/{user_id}",
    path=UserPath,
    body=UserChange,
    returns=AdminView,
    auth=ADMIN,
    body_limit_bytes=8_192,
    summary="Lock, unlock or change an account",
)
async def change_user(request: web.Request, path: UserPath, body: UserChange) -> AdminView:
    """Locking, and taking a role away, end all sessions and tokens."""
    change = AccountChange(
        locked=body.locked,
        tier=body.tier,
        roles=tuple(dict.fromkeys(body.roles)) if body.roles is not None else None,
        clear_pin=body.clear_pin,
    )
    return _view(await request.app[ADMINISTRATION].change(_admin(request), path.user_id, change))


@routes.delete("/api/v1/admin/users/{user_id}", path=UserPath, auth=ADMIN, summary="Delete an account")
async def delete_user(request: web.Request, path: UserPath) -> None:
    """Everywhere, and for good."""
    await request.app[ADMINISTRATION].delete(_admin(request), path.user_id)


@routes.get(
    "/api/v1/admin/audit-logs", query=AuditQuery, returns=AuditPage, auth=ADMIN, summary="Read the audit log"
)
async def audit_logs(request: web.Request, query: AuditQuery) -> AuditPage:
    """Newest first."""
    wanted = AuditFilter(**{name: getattr(query, name) for name in AuditFilter.__dataclass_fields__})
    found = await request.app[AUDIT_PAGES].page(wanted, before=query.cursor, limit=query.limit + 1)
    shown = found[: query.limit]
    more = len(found) > len(shown)
    entries = [AuditView.model_validate(entry) for entry in shown]
    return AuditPage(entries=entries, next_cursor=entries[-1].id if more else None)


def _view(row: ProfileRow) -> AdminView:
    return AdminView.model_validate({name: getattr(row, name) for name in AdminView.model_fields})


def _admin(request: web.Request) -> Admin:
    subject = request[CALLER].subject
    try:
        user_id: UUID | None = UUID(subject)
    except ValueError:
        user_id = None
    return Admin(subject=subject, user_id=user_id, origin=origin_of(request))
