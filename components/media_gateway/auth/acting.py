"""From a request to the person who sends it. Called by the routes of everything that only its owner may touch."""

from aiohttp import hdrs, web

from media_gateway.auth.actors import API_KEY_CLIENT, Actor, as_uuid
from media_gateway.core.errors import PermissionDeniedError
from media_gateway.core.web import CALLER, source_of


def actor_of(request: web.Request) -> Actor:
    """The person whose token a request carries.

    Raises
    ------
    PermissionDeniedError
        The token is a program's, or was made for an API key: neither may change what lets people in.
    """
    caller = request[CALLER]
    # RFC 9068 section 2.2: the subject of a token for a program is the program.
    if caller.claims.get("client_id") == caller.subject:
        raise _not_a_person()
    if caller.claims.get("via") == "api_key" or caller.claims.get("client_id") == API_KEY_CLIENT:
        raise PermissionDeniedError("an API key can't do this: sign in instead")
    user_id = as_uuid(caller.subject)
    if user_id is None:
        raise _not_a_person()
    return Actor(
        user_id=user_id,
        scopes=caller.scopes,
        grant_id=as_uuid(caller.claims.get("sid")),
        source=source_of(request),
        user_agent=request.headers.get(hdrs.USER_AGENT),
    )


def _not_a_person() -> PermissionDeniedError:
    return PermissionDeniedError("only a person can do this: the token is a program's")
