"""HTTP operations of the gateway: what it answers itself, and one handler for each row of the route table."""

from aiohttp import web

from media_gateway.core.web import Auth, RouteOptions, RouteTable, respond
from media_gateway.core.web.routing import Limits
from media_gateway.core.web.schemas import HealthView
from media_gateway.gateway.cors import CORS
from media_gateway.gateway.doors import Doors
from media_gateway.gateway.overall import OverallHealth
from media_gateway.gateway.table import TABLE, Forward

DOORS = web.AppKey("doors", Doors)
OVERALL = web.AppKey("overall_health", OverallHealth)

own_routes = RouteTable(tag="gateway")
forwarded_routes = RouteTable(tag="forwarded")


@own_routes.get(
    "/health/aggregate",
    returns=HealthView,
    responses={503: HealthView},
    auth=Auth.NONE,
    limits=None,
    summary="State of the platform: every service behind the gateway",
)
async def aggregate(request: web.Request) -> web.Response:
    """Healthy if all services are; degraded while those are without which nothing works; else unhealthy, with status 503."""
    report = await request.app[OVERALL].report()
    return respond(HealthView.model_validate(report), status=503 if report.status == "unhealthy" else 200)


own_routes.get(
    "/api/v1/status",
    returns=HealthView,
    responses={503: HealthView},
    auth=Auth.NONE,
    limits=None,
    summary="The same",
)(aggregate)


@own_routes.route("OPTIONS", "/{rest:.*}", auth=Auth.NONE, limits=None, hidden=True, unparsed=True)
async def preflight(request: web.Request) -> web.Response:
    """What a browser asks before it lets a page of another origin call."""
    return web.Response(status=204, headers=request.app[CORS].preflight(request))


def _declare(forward: Forward) -> None:
    async def pass_on(request: web.Request) -> web.StreamResponse:
        return await request.app[DOORS].pass_on(request, forward)

    options: RouteOptions = {
        "auth": forward.auth,
        "limits": Limits(forward.endpoint),
        "hidden": True,
        "unparsed": True,
    }
    if forward.is_socket:
        options["timeout_ms"] = 0  # it lives as long as its two sides do
    forwarded_routes.route(forward.method, forward.template, **options)(pass_on)


for _forward in TABLE:
    _declare(_forward)
