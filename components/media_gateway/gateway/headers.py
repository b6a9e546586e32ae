"""Which headers go on, and which stay here. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import hdrs
from multidict import CIMultiDict

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
    came = CIMultiDict(headers)
    dropped = OURS | _named_by_connection(came)
    passed = CIMultiDict(
        (name, value)
        for name, value in came.items()
        if (low := name.lower()) not in dropped and not low.startswith(OUR_PREFIXES)
    )
    passed.update(own)
    return passed


def to_caller(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """The headers of an answer as the caller gets them."""
    came = CIMultiDict(headers)
    dropped = NOT_BACK | _named_by_connection(came)
    return CIMultiDict((name, value) for name, value in came.items() if name.lower() not in dropped)


def _named_by_connection(headers: CIMultiDict[str]) -> frozenset[str]:
    listed = ",".join(headers.getall(hdrs.CONNECTION, ()))
    return HOP_BY_HOP | {name.strip().lower() for name in listed.split(",")} if listed else HOP_BY_HOP
