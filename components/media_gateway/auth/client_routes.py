"""Routes by which administrators register programs."""

from dataclasses import replace
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from media_gateway.auth.actors import as_uuid
from media_gateway.auth.audit import AuditEntry
from media_gateway.auth.client_schemas import (
    ClientFields,
    ClientPage,
    ClientView,
    Id,
    NewClient,
    NewClientView,
)
from media_gateway.auth.clients import Client
from media_gateway.auth.oauth_routes import CLIENTS
from media_gateway.core.errors import ConflictError, NotFoundError
from media_gateway.core.web import CALLER, Auth, RouteTable, respond, source_of

ADMIN = Auth.scope("admin")


class ClientPath(BaseModel):
    """Which program."""

    client_id: Id


class PageQuery(BaseModel):
    """Which part of the list."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str, Field(max_length=128)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


routes = RouteTable(tag="clients")


@routes.get(
    "/api/v1/admin/clients", query=PageQuery, returns=ClientPage, auth=ADMIN, summary="Registered programs"
)
async def index(request: web.Request, query: PageQuery) -> ClientPage:
    """Those of the settings first, then the others in the order of their ids."""
    clients = request.app[CLIENTS]
    kept = await clients.page(after=query.cursor, limit=query.limit + 1)
    views = [_view(client, fixed=True) for client in ([] if query.cursor else clients.fixed())]
    views += [_view(client) for client in kept[: query.limit]]
    return ClientPage(
        clients=views, next_cursor=kept[query.limit - 1].client_id if len(kept) > query.limit else None
    )


@routes.post(
    "/api/v1/admin/clients",
    body=NewClient,
    returns=NewClientView,
    status=201,
    auth=ADMIN,
    body_limit_bytes=131_072,
    summary="Register a program",
)
async def register(request: web.Request, body: NewClient) -> web.Response:
    """A confidential client's secret is in the answer, and nowhere else."""
    client = body.client()
    secret = await request.app[CLIENTS].register(
        client, confidential=body.confidential, by=_entry(request, "client.registered", client.client_id)
    )
    view = _view(client).model_dump() | {"confidential": body.confidential}
    headers = {"Location": f"/api/v1/admin/clients/{client.client_id}", "Cache-Control": "no-store"}
    return respond(NewClientView(**view, client_secret=secret), status=201, headers=headers)


@routes.get(
    "/api/v1/admin/clients/{client_id}",
    path=ClientPath,
    returns=ClientView,
    auth=ADMIN,
    summary="A registered program",
)
async def show(request: web.Request, path: ClientPath) -> ClientView:
    """Without its secret, which nobody knows."""
    client = await _find(request, path.client_id)
    return _view(client, fixed=client in request.app[CLIENTS].fixed())


@routes.put(
    "/api/v1/admin/clients/{client_id}",
    path=ClientPath,
    body=ClientFields,
    returns=ClientView,
    auth=ADMIN,
    body_limit_bytes=131_072,
    summary="Change a program",
)
async def change(request: web.Request, path: ClientPath, body: ClientFields) -> ClientView:
    """All of it but its id and its secret. What is left out gets its default; disabled, it gets no tokens any more."""
    before = await _find(request, path.client_id)
    if "client_credentials" in body.grant_types and before.is_public:
        raise ConflictError("grant_types: a public client can't use client_credentials")
    fields = body.model_dump()
    fields |= {"grant_types": frozenset(body.grant_types), "scopes": frozenset(body.scopes)}
    client = replace(before, **fields)
    await request.app[CLIENTS].change(client, by=_entry(request, "client.changed", path.client_id))
    return _view(client)


@routes.post(
    "/api/v1/admin/clients/{client_id}/secret",
    path=ClientPath,
    returns=NewClientView,
    auth=ADMIN,
    summary="Give a program a new secret",
)
async def renew_secret(request: web.Request, path: ClientPath) -> web.Response:
    """The old one is no longer good."""
    client = await _find(request, path.client_id)
    entry = _entry(request, "client.secret_renewed", path.client_id)
    secret = await request.app[CLIENTS].renew_secret(client, by=entry)
    view = NewClientView(**_view(client).model_dump(), client_secret=secret)
    return respond(view, headers={"Cache-Control": "no-store"})


@routes.delete(
    "/api/v1/admin/clients/{client_id}", path=ClientPath, status=204, auth=ADMIN, summary="Forget a program"
)
async def remove(request: web.Request, path: ClientPath) -> None:
    """Its refresh tokens are good for nothing from now on; its access tokens run out."""
    await request.app[CLIENTS].remove(path.client_id, by=_entry(request, "client.removed", path.client_id))


async def _find(request: web.Request, client_id: str) -> Client:
    client = await request.app[CLIENTS].find(client_id)
    if client is None:
        raise NotFoundError(f"there is no client {client_id!r}")
    return client


def _view(client: Client, *, fixed: bool = False) -> ClientView:
    return ClientView(
        client_id=client.client_id,
        name=client.name,
        confidential=not client.is_public,
        redirect_uris=list(client.redirect_uris),
        grant_types=sorted(client.grant_types),
        scopes=sorted(client.scopes),
        enabled=client.enabled,
        access_token_s=client.access_token_s,
        refresh_token_s=client.refresh_token_s,
        refresh_leeway_s=client.refresh_leeway_s,
        fixed=fixed,
    )


def _entry(request: web.Request, action: str, client_id: str) -> AuditEntry:
    return AuditEntry(
        action=action,
        resource_type="client",
        resource_id=client_id,
        user_id=as_uuid(request[CALLER].subject),
        source=source_of(request),
        user_agent=request.headers.get("User-Agent"),
    )
