"""A component as an aiohttp application: its routes, those every component has, the middleware stack, its wiring."""

import ipaddress
from collections.abc import AsyncIterator, Iterable
from functools import partial

from aiohttp import web

from media_gateway.core.bootstrap import BackendName, Backends
from media_gateway.core.health import Health, Probe, Status
from media_gateway.core.limiting import Sources
from media_gateway.core.revoked import RevokedTokens
from media_gateway.core.supervisor import Supervisor
from media_gateway.core.telemetry import exposition
from media_gateway.core.tokens import TokenVerifier
from media_gateway.core.web import middlewares
from media_gateway.core.web.component import Component, Context, S
from media_gateway.core.web.docs import DOCUMENT, Document, docs_routes
from media_gateway.core.web.endpoint import make_endpoint, respond
from media_gateway.core.web.keys import ENDPOINTS, HEALTH, IN_FLIGHT, LEGACY_HEADERS, REVOKED, VERIFIER
from media_gateway.core.web.limits import RequestLimits
from media_gateway.core.web.routing import Auth, Route, RouteTable
from media_gateway.core.web.schemas import Alive, HealthView, Readiness
from media_gateway.core.web.sources import SOURCES

service_routes = RouteTable(tag="service")
metrics_routes = RouteTable(tag="service")


@service_routes.get(
    "/health/live", returns=Alive, auth=Auth.NONE, limits=None, summary="Whether the process runs"
)
async def live(_request: web.Request) -> Alive:
    """Always the same answer: only a process that can't answer at all should be restarted."""
    return Alive()


@service_routes.get(
    "/health/ready",
    returns=Readiness,
    responses={503: Readiness},
    auth=Auth.NONE,
    limits=None,
    summary="Whether the component wants requests",
)
async def ready(request: web.Request) -> web.Response:
    """503 while a critical part is down and from the moment the process is told to stop."""
    health = request.app[HEALTH]
    if health.draining:
        return respond(Readiness(status="draining"), status=503)
    report = await health.report()
    failing = [part.name for part in report.components if part.critical and part.status is Status.UNHEALTHY]
    if failing:
        return respond(Readiness(status="unready", failing=failing), status=503)
    return respond(Readiness(status="ready"))


@service_routes.get(
    "/health",
    returns=HealthView,
    responses={503: HealthView},
    auth=Auth.NONE,
    limits=None,
    summary="State of the component and its parts",
)
async def health_report(request: web.Request) -> web.Response:
    """503 if a critical part is down; 200 with ``degraded`` if another one is."""
    report = await request.app[HEALTH].report()
    return respond(
        HealthView.model_validate(report), status=503 if report.status is Status.UNHEALTHY else 200
    )


@metrics_routes.get("/metrics", auth=Auth.NONE, limits=None, hidden=True)
async def metrics(request: web.Request) -> web.Response:
    """All metrics of the process."""
    body, content_type = exposition(request.headers.get("Accept"))
    return web.Response(body=body, headers={"Content-Type": content_type})


def create_app(component: Component[S], settings: S, backends: Backends) -> web.Application:
    """The application of a component. Its wiring runs when the application starts and is undone when it is cleaned up.

    Raises
    ------
    ValueError
        Two routes have the same method and path.
    """
    revoked = RevokedTokens(backends.redis) if "redis" in component.needs else None
    verifier = TokenVerifier.from_settings(settings, frozenset() if revoked is None else revoked)
    limits = None
    if component.limits is not None:
        limits = RequestLimits.from_settings(component.name, component.limits(settings), settings, backends)
    app = web.Application(
        middlewares=middlewares.stack(component.name, settings, verifier, limits),
        client_max_size=settings.body_limit_bytes,
    )
    app[VERIFIER] = verifier
    app[SOURCES] = Sources(settings.trusted_networks, settings.forwarded_header)
    app[IN_FLIGHT] = {}
    app[ENDPOINTS] = {}
    app[HEALTH] = Health()
    app[LEGACY_HEADERS] = settings.ratelimit_legacy_headers
    app.on_response_prepare.append(middlewares.add_headers)
    routes = [route for table in component.routes for route in table]
    app[DOCUMENT] = Document(component.name, component.summary, [*routes, *service_routes])
    _add_routes(app, [*routes, *service_routes, *docs_routes], settings.body_limit_bytes)
    # On one machine the service's own port shows them too; where others can reach it, only the metrics port does.
    if _is_loopback(settings.service_host):
        _add_routes(app, metrics_routes, settings.body_limit_bytes)
    if revoked is not None:
        app[REVOKED] = revoked
        app.cleanup_ctx.append(partial(_revoking, revoked))
    if limits is not None:
        app.cleanup_ctx.append(partial(_limiting, limits))
    app.cleanup_ctx.append(partial(_lifespan, component, settings, backends, verifier))
    return app


def _add_routes(app: web.Application, routes: Iterable[Route], body_limit_bytes: int) -> None:
    taken = {(route.method, route.plain_template) for route in app[ENDPOINTS].values()}
    for route in routes:
        if (route.method, route.plain_template) in taken:
            raise ValueError(f"two routes answer {route.method} {route.plain_template}")
        taken.add((route.method, route.plain_template))
        endpoint = make_endpoint(route, body_limit_bytes)
        if route.method == "GET":
            app.router.add_get(route.template, endpoint)
        else:
            app.router.add_route(route.method, route.template, endpoint)
        app[ENDPOINTS][endpoint] = route


async def _lifespan(
    component: Component[S], settings: S, backends: Backends, verifier: TokenVerifier, app: web.Application
) -> AsyncIterator[None]:
    health = app[HEALTH]
    supervisor = Supervisor(component.name, health)
    for name in sorted(component.needs):
        health.add(name, _probe(backends, name), critical=name in component.critical)
    try:
        async with component.wire(Context(app, settings, backends, supervisor, health)):
            yield
            # Followers stop before what they use is taken down.
            await supervisor.stop()
    finally:
        await supervisor.stop()
        await health.close()
        await verifier.close()


async def _limiting(limits: RequestLimits, app: web.Application) -> AsyncIterator[None]:
    """Know the limits before the first request, and follow their changes until the last."""
    app[HEALTH].add("rate limits", limits.book.health)
    await limits.book.look()
    following = Supervisor("rate limits", app[HEALTH])
    following.spawn("limit changes", limits.book.follow)
    yield
    await following.stop()
    await limits.close()


async def _revoking(revoked: RevokedTokens, app: web.Application) -> AsyncIterator[None]:
    """Know what is revoked before the first request, and follow it until the last."""
    app[HEALTH].add("revoked tokens", revoked.health)
    await revoked.look()
    following = Supervisor("revoked tokens", app[HEALTH])
    following.spawn("revocations", revoked.follow)
    yield
    await following.stop()
    await revoked.close()


def _probe(backends: Backends, name: BackendName) -> Probe:
    async def probe() -> None:
        await getattr(backends, name).ping()

    return probe


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
