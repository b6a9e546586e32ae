"""Connecting to Qdrant, and its failures in our words."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

import grpc
import httpx
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from media_gateway.core.errors import (
    DeadlineExceededError,
    MediaGatewayError,
    NotConfiguredError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
    UpstreamError,
)
from media_gateway.core.settings import PREFIX

GRPC_PORT = 6334
REST_PORT = 6333
"""Qdrant's own defaults."""

DEFAULT_TIMEOUT_MS = 5_000
"""Longest one call may take; searches take milliseconds, a batch of 100 points some tens."""

DEFAULT_POOL_SIZE = {"grpc": 3, "rest": 32}
"""gRPC carries many calls over one connection, REST one."""

GRPC_OPTIONS = {
    # Its default waits up to two minutes before it tries a restarted server again.
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.initial_reconnect_backoff_ms": 100,
}

GRPC_ERRORS: dict[grpc.StatusCode, tuple[type[MediaGatewayError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (UnavailableError, "Qdrant can't be reached"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (DeadlineExceededError, "Qdrant took too long"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (RateLimitedError, "Qdrant asks to slow down"),
    grpc.StatusCode.ABORTED: (UnavailableError, "Qdrant gave up the operation"),
    grpc.StatusCode.CANCELLED: (UnavailableError, "the connection to Qdrant was closed"),
    grpc.StatusCode.INTERNAL: (UnavailableError, "Qdrant failed"),
    grpc.StatusCode.UNKNOWN: (UnavailableError, "Qdrant failed"),
    grpc.StatusCode.NOT_FOUND: (NotFoundError, "Qdrant does not have the collection"),
    grpc.StatusCode.UNAUTHENTICATED: (NotConfiguredError, "Qdrant refused our API key"),
    grpc.StatusCode.PERMISSION_DENIED: (NotConfiguredError, "Qdrant refused our API key"),
}

HTTP_ERRORS: dict[int, tuple[type[MediaGatewayError], str]] = {
    401: (NotConfiguredError, "Qdrant refused our API key"),
    403: (NotConfiguredError, "Qdrant refused our API key"),
    404: (NotFoundError, "Qdrant does not have the collection"),
    408: (DeadlineExceededError, "Qdrant took too long"),
    429: (RateLimitedError, "Qdrant asks to slow down"),
    504: (DeadlineExceededError, "Qdrant took too long"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where and how a Qdrant server is spoken to.

    Attributes
    ----------
    host, port : str, int
        Of the protocol used.
    protocol : str
        ``grpc`` or ``rest``.
    tls : bool
        Whether the connection is encrypted.
    api_key : str | None
        Secret of the server.
    timeout_ms : int
        Longest one call may take.
    pool_size : int
        Connections.
    """

    host: str
    port: int
    protocol: str
    tls: bool
    api_key: str | None
    timeout_ms: int
    pool_size: int

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read ``qdrant[s][+http]://[:API_KEY@]host[:port][?timeout_ms=…&pool_size=…]``.

        Raises
        ------
        NotConfiguredError
            The address is malformed; the message does not repeat it, since it may hold the key.
        """
        try:
            parts = urlsplit(url)
            base, _, transport = parts.scheme.partition("+")
            protocol = "rest" if transport == "http" else "grpc"
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            address = cls(
                host=parts.hostname or "",
                port=parts.port or (REST_PORT if protocol == "rest" else GRPC_PORT),
                protocol=protocol,
                tls=base == "qdrants",
                api_key=unquote(parts.password) if parts.password else None,
                timeout_ms=int(options.pop("timeout_ms", DEFAULT_TIMEOUT_MS)),
                pool_size=int(options.pop("pool_size", DEFAULT_POOL_SIZE[protocol])),
            )
        except ValueError as error:
            raise _malformed("a port or option is not a number") from error
        if not address.host or options or address.timeout_ms < 1 or address.pool_size < 1:
            raise _malformed(
                f"unknown option {min(options)!r}" if options else "a part is missing or too small"
            )
        return address

    def connect(self) -> AsyncQdrantClient:
        """A client with its pool; connects at the first call."""
        return AsyncQdrantClient(
            host=self.host,
            port=self.port,
            grpc_port=self.port,
            prefer_grpc=self.protocol == "grpc",
            https=self.tls,
            api_key=self.api_key,
            # A bound for what runs on in the client; `translated` ends the call itself, and earlier.
            timeout=math.ceil(self.timeout_ms / 1000) + 1,
            grpc_options=dict(GRPC_OPTIONS),
            pool_size=self.pool_size,
            check_compatibility=False,
        )


def _malformed(problem: str) -> NotConfiguredError:
    example = f"{PREFIX}VECTOR_URL=qdrant://host:6334?timeout_ms=5000"
    return NotConfiguredError(f"{PREFIX}VECTOR_URL: {problem}; example: {example}")


@asynccontextmanager
async def translated(timeout_ms: int) -> AsyncIterator[None]:
    """Bound a call in time, body included, and turn the driver's exceptions into ours."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            yield
    except TimeoutError as error:
        raise DeadlineExceededError(f"Qdrant took longer than {timeout_ms} ms") from error
    except ResourceExhaustedResponse as error:
        raise RateLimitedError(
            "Qdrant asks to slow down", retry_after_ms=int(error.retry_after_s) * 1000
        ) from error
    except QdrantException as error:  # a Retry-After that is no number of seconds
        raise RateLimitedError("Qdrant asks to slow down") from error
    except grpc.aio.AioRpcError as error:
        kind, message = GRPC_ERRORS.get(error.code(), (UpstreamError, f"Qdrant answered {error.code().name}"))
        raise kind(message) from error
    except ApiException as error:
        raise _rest_error(error) from error
    except (ValueError, AssertionError) as error:  # how the client says "no JSON" and "empty result"
        raise UpstreamError("Qdrant answered something that can't be read") from error
    except (OSError, httpx.HTTPError) as error:
        raise UnavailableError("Qdrant can't be reached") from error


def _rest_error(error: ApiException) -> MediaGatewayError:
    if isinstance(error, UnexpectedResponse):
        status = error.status_code or 0
        fallback = UnavailableError if status >= 500 else UpstreamError
        kind, message = HTTP_ERRORS.get(status, (fallback, f"Qdrant answered {status}"))
        return kind(message, details={"status": status})
    if isinstance(error, ResponseHandlingException):
        if isinstance(error.source, httpx.TimeoutException):
            return DeadlineExceededError("Qdrant took too long")
        if isinstance(error.source, httpx.HTTPError | OSError):
            return UnavailableError("Qdrant can't be reached")
    return UpstreamError("Qdrant answered something that can't be read")
