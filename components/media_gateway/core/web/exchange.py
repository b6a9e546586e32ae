"""Where callers may send something else than an access token: what gets them one, asked before tokens are checked."""

from typing import Protocol

from aiohttp import web


class BearerExchange(Protocol):
    """Gives access tokens for other proofs of who calls."""

    async def token_for(self, request: web.Request) -> str | None:
        """The token of what a request carries; None if it carries nothing to be exchanged.

        Raises
        ------
        UnauthenticatedError
            What it carries is good for nothing.
        UnavailableError
            Whoever could tell is away.
        """


BEARER_EXCHANGE = web.AppKey("bearer_exchange", BearerExchange)
"""Put here while wiring. Without it tokens alone are known."""
