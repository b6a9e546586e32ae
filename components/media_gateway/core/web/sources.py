"""Where a request comes from, as far as the proxies in front can be believed. For limits, logs of who did what, analytics."""

from aiohttp import web

from media_gateway.core.limiting import Sources

SOURCES = web.AppKey("sources", Sources)
"""Knows the proxies that the settings trust; of every application."""


def source_of(request: web.Request) -> str:
    """The sender's IPv4 address, the /64 of an IPv6 address, or ``unknown`` (a Unix socket)."""
    sources = request.app[SOURCES]
    return sources.source(request.remote, request.headers.getall(sources.header, []))
