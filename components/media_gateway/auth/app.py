"""Auth as a component: what it needs and how its parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from media_gateway.auth.settings import Settings
from media_gateway.core.web import Component, Context


@asynccontextmanager
async def wire(_context: Context[Settings]) -> AsyncIterator[None]:
    """Put the services together; nothing waits for a server."""
    yield


COMPONENT = Component(
    name="auth",
    port=8084,
    settings=Settings,
    needs=frozenset({"database", "redis"}),
    critical=frozenset({"database", "redis"}),
    wire=wire,
    summary="Knows who people and programs are: accounts, OAuth 2, the signing-in of TVs.",
)
