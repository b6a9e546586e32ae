"""Routes by which people see which providers they sign in with, and unlink one."""

from aiohttp import web

from media_gateway.auth.acting import actor_of
from media_gateway.auth.identity_schemas import IdentitiesView, IdentityPath, IdentityView
from media_gateway.auth.pages.social import SOCIAL
from media_gateway.core.web import Auth, RouteTable
from media_gateway.core.web.schemas import Problem

routes = RouteTable(tag="identities")


@routes.get(
    "/api/v1/users/me/identities",
    returns=IdentitiesView,
    responses={403: Problem},
    auth=Auth.REQUIRED,
    summary="Providers I sign in with",
)
async def list_identities(request: web.Request) -> IdentitiesView:
    """A provider is linked in the browser, at ``/auth/oauth/{provider}/link``."""
    found = await request.app[SOCIAL].identities_of(actor_of(request))
    return IdentitiesView(items=[IdentityView.model_validate(one) for one in found])


@routes.delete(
    "/api/v1/users/me/identities/{provider}",
    path=IdentityPath,
    responses={403: Problem, 404: Problem, 409: Problem},
    auth=Auth.REQUIRED,
    summary="Unlink a provider",
)
async def unlink(request: web.Request, path: IdentityPath) -> None:
    """409 if it is the only way into the account."""
    await request.app[SOCIAL].unlink(actor_of(request), path.provider)
