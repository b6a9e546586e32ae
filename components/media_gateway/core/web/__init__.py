"""The aiohttp kit every service is built with.

A component declares its operations in a `RouteTable`, itself in a `Component`, and is served by `run_component` (its own
process) or `start_component` (beside others, or in a test). Requests pass one stack of middlewares in one order; every
error leaves as a problem document (RFC 9457).
"""

from media_gateway.core.web.app import create_app
from media_gateway.core.web.component import Component, Context
from media_gateway.core.web.endpoint import respond
from media_gateway.core.web.keys import CALLER, REVOKED, VERIFIER
from media_gateway.core.web.limits import CLIENT_KINDS, ClientKinds
from media_gateway.core.web.preconditions import entity_tag, if_match
from media_gateway.core.web.process import event_loop_factory, run_component, stop_signals
from media_gateway.core.web.routing import Auth, Limits, RouteOptions, RouteTable
from media_gateway.core.web.schemas import Wire
from media_gateway.core.web.server import RunningComponent, check_host, metrics_server, start_component
from media_gateway.core.web.sources import source_of

__all__ = [
    "CALLER",
    "CLIENT_KINDS",
    "REVOKED",
    "VERIFIER",
    "Auth",
    "ClientKinds",
    "Component",
    "Context",
    "Limits",
    "RouteOptions",
    "RouteTable",
    "RunningComponent",
    "Wire",
    "check_host",
    "create_app",
    "entity_tag",
    "event_loop_factory",
    "if_match",
    "metrics_server",
    "respond",
    "run_component",
    "source_of",
    "start_component",
    "stop_signals",
]
