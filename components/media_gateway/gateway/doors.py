"""The services behind the gateway: where each is, and what passes requests on to it. Called by the routes."""

import aiohttp
from aiohttp import web

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.errors import NotConfiguredError
from media_gateway.core.limiting import Sources
from media_gateway.core.settings import PREFIX
from media_gateway.gateway.addresses import check_path, service_url
from media_gateway.gateway.api_keys import exchange_key
from media_gateway.gateway.forwarding import Forwarder, own_headers
from media_gateway.gateway.response_cache import ResponseCache
from media_gateway.gateway.settings import Settings
from media_gateway.gateway.sockets import relay_socket
from media_gateway.gateway.table import Forward, Upstream


class Doors:
    """Passes requests on by the route table.

    Parameters
    ----------
    session
        Connections to all services; closed by whoever opened it.
    redis
        Where replicas share which service is left alone.
    kept
        Answers that need not be asked for again.
    """

    def __init__(
        self, settings: Settings, session: aiohttp.ClientSession, redis: RedisHandle, kept: ResponseCache
    ) -> None:
        self._session = session
        self._kept = kept
        self._body_limit = settings.body_limit_bytes
        self._sources = Sources(settings.trusted_networks, settings.forwarded_header)
        self.addresses = {
            upstream: url for upstream in Upstream if (url := getattr(settings, f"{upstream.value}_url"))
        }
        self._forwarders = {
            upstream: Forwarder(upstream, session, redis, self._sources) for upstream in self.addresses
        }

    async def pass_on(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        """The service's answer to a request.

        Raises
        ------
        NotConfiguredError
            This installation does not have the service.
        InvalidInputError
            The path may be read in two ways.
        UnauthenticatedError
            The API key is not good.
        MediaGatewayError
            As `Forwarder.forward` and `relay_socket`.
        """
        url = request.rel_url
        check_path(url.raw_path)
        base = self.addresses.get(forward.upstream)
        if base is None:
            name = forward.upstream.value
            raise NotConfiguredError(
                f"this installation has no {name}: {PREFIX}{name.upper()}_URL is not set"
            )
        await exchange_key(request)
        target = service_url(base, forward, url.raw_path, url.raw_query_string, request.match_info)
        if forward.is_socket:
            return await relay_socket(request, self._session, target, own_headers(request, self._sources))
        method = forward.target_method or request.method
        forwarder = self._forwarders[forward.upstream]
        return await self._kept.answer(
            request,
            forward,
            lambda: forwarder.forward(request, method, target, body_limit=self._body_limit),
        )
