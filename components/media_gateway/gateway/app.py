"""The gateway as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from media_gateway.core.cache import CacheStore
from media_gateway.core.limiting import tier_limits
from media_gateway.core.web import Component, Context
from media_gateway.core.web.docs import DOCUMENT, Document
from media_gateway.core.web.exchange import BEARER_EXCHANGE
from media_gateway.gateway.api_keys import KeyExchange
from media_gateway.gateway.cors import CORS, CrossOrigin
from media_gateway.gateway.document import MergedDocument
from media_gateway.gateway.doors import Doors
from media_gateway.gateway.forwarding import open_session
from media_gateway.gateway.overall import OverallHealth
from media_gateway.gateway.response_cache import ResponseCache
from media_gateway.gateway.routes import DOORS, OVERALL, forwarded_routes, own_routes
from media_gateway.gateway.settings import Settings


@asynccontextmanager
async def wire(context: Context[Settings]) -> AsyncIterator[None]:
    """Connections are made when requests come; no service has to be up."""
    app = context.app
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        store = CacheStore(context.backends.redis)
        stack.push_async_callback(store.close)
        doors = Doors(context.settings, session, context.backends.redis, ResponseCache(store))
        app[DOORS] = doors
        app[BEARER_EXCHANGE] = keys = KeyExchange(context.settings)
        stack.push_async_callback(keys.close)
        app[OVERALL] = OverallHealth(session, doors.addresses)
        stack.push_async_callback(app[OVERALL].close)
        own = app[DOCUMENT]
        assert isinstance(own, Document)
        app[DOCUMENT] = MergedDocument(own.made, session, doors.addresses)
        app[CORS] = CrossOrigin(context.settings.cors_origins)
        app.on_response_prepare.append(app[CORS].mark)
        yield


COMPONENT = Component(
    name="gateway",
    port=8080,
    settings=Settings,
    needs=frozenset({"redis"}),
    # Without Redis each replica judges services and limits alone, which is better than no door.
    critical=frozenset(),
    routes=(own_routes, forwarded_routes),
    wire=wire,
    limits=lambda _settings: tier_limits("gateway"),
    summary="The one public door: every service under one address.",
)
