"""What routes and pages read from a request beside its body: where it comes from, and whose token it has."""

from uuid import UUID

from aiohttp import hdrs, web

from media_gateway.auth.acting import actor_of
from media_gateway.auth.audit import Origin
from media_gateway.core.web import source_of


def origin_of(request: web.Request) -> Origin:
    """Where a request comes from, for the audit log."""
    return Origin(source=source_of(request), user_agent=request.headers.get(hdrs.USER_AGENT))


def user_id_of(request: web.Request) -> UUID:
    """The person whose token a request has.

    Raises
    ------
    PermissionDeniedError
        It is a program's, or was made for an API key.
    """
    return actor_of(request).user_id
