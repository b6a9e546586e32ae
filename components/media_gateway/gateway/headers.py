"""Which headers go on, and which stay here. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import hdrs
from multidict import CIMultiDict

from media_gateway.core.api_keys import HEADER as API_KEY_HEADER
from media_gateway.core.service_tokens import HEADER as SERVICE_TOKEN_HEADER
from media_gateway.core.telemetry import REQUEST_ID_HEADER

HOP_BY_HOP: Final = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION,
        hdrs.KEEP_ALIVE,
        hdrs.PROXY_AUTHENTICATE,
        hdrs.PROXY_AUTHORIZATION,
        "Proxy-Connection",
        hdrs.TE,
        hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING,
        hdrs.UPGRADE,
    )
)
"""About one connection only (RFC 9110 section 7.6.1)."""

OURS: Final = frozenset(
    {
        "host",
        "content-length",  # written anew by whoever frames the body
        "expect",  # answered here
        "forwarded",
        "traceparent",
        "tracestate",
        REQUEST_ID_HEADER.lower(),
        "x-request-deadline-ms",
        SERVICE_TOKEN_HEADER.lower(),
        API_KEY_HEADER.lower(),  # its token goes on instead
    }
)
"""What the gateway says itself, whatever the caller wrote."""

OUR_PREFIXES: Final = ("x-forwarded-", "x-internal-", "x-real-ip")
"""By which services could be told who a caller is; nobody outside may."""

NOT_BACK: Final = frozenset({"server", "date", REQUEST_ID_HEADER.lower()})
"""Of an answer: the gateway has its own."""


def to_service(headers: Iterable[tuple[str, str]], own: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers of a request as the service gets them.

    Parameters
    ----------
    headers
        As they came; repeated ones stay repeated, in order.
    own
        What the gateway adds.
    """
    came = list(headers)
    dropped = _ALWAYS_DROPPED | _named_by_connection(came)
    passed = CIMultiDict(
        [
            (name, value)
            for name, value in came
            if (low := name.lower()) not in dropped and not low.startswith(OUR_PREFIXES)
        ]
    )
    passed.update(own)
    return passed


def to_caller(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """The headers of an answer as the caller gets them."""
    came = list(headers)
    dropped = _NEVER_BACK | _named_by_connection(came)
    return CIMultiDict([(name, value) for name, value in came if name.lower() not in dropped])


_ALWAYS_DROPPED: Final = OURS | HOP_BY_HOP
_NEVER_BACK: Final = NOT_BACK | HOP_BY_HOP


def _named_by_connection(headers: Iterable[tuple[str, str]]) -> set[str]:
    listed = [value for name, value in headers if name.lower() == "connection"]
    return {name.strip().lower() for value in listed for name in value.split(",")}
