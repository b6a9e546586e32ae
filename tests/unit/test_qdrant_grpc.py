"""The Qdrant adapter's addresses, and its errors over a real gRPC connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from media_gateway.core.adapters.qdrant import QdrantIndex
from media_gateway.core.adapters.qdrant.connection import Address
from media_gateway.core.errors import (
    DeadlineExceededError,
    NotConfiguredError,
    RateLimitedError,
    UnavailableError,
    UpstreamError,
)


@pytest.fixture
async def grpc_stub() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A gRPC server that answers every method with the status it is told."""
    told: dict[str, Any] = {"code": grpc.StatusCode.UNAVAILABLE, "methods": []}

    class Everything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
        def service(self, details: Any) -> Any:
            async def refuse(_request: bytes, context: Any) -> bytes:
                told["methods"].append(details.method)
                if told["code"] is None:
                    await asyncio.sleep(5)
                    return b""
                await context.abort(told["code"], "as told", tuple(told.get("trailing", ())))
                return b""

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"qdrant://127.0.0.1:{port}", told
    await server.stop(grace=0)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.INTERNAL, UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RateLimitedError),
        (grpc.StatusCode.UNAUTHENTICATED, NotConfiguredError),
        (grpc.StatusCode.INVALID_ARGUMENT, UpstreamError),
    ],
)
async def test_grpc_statuses_become_our_errors(grpc_stub: Any, code: Any, error: type[Exception]) -> None:
    url, told = grpc_stub
    told["code"] = code
    index = QdrantIndex(url)
    with pytest.raises(error):
        await index.ping()
    await index.close()
    assert told["methods"] == ["/qdrant.Collections/List"]


async def test_grpc_retry_after_and_deadline_are_kept(grpc_stub: Any) -> None:
    url, told = grpc_stub
    index = QdrantIndex(f"{url}?timeout_ms=200")
    told.update(code=grpc.StatusCode.RESOURCE_EXHAUSTED, trailing=[("retry-after", "3")])
    with pytest.raises(RateLimitedError) as caught:
        await index.ping()
    assert caught.value.retry_after_ms == 3000
    told["code"] = None
    with pytest.raises(DeadlineExceededError):
        await index.ping()
    await index.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("qdrant://host", ("host", 6334, "grpc", False, None, 5000, 3)),
        ("qdrants://:key@host:7", ("host", 7, "grpc", True, "key", 5000, 3)),
        ("qdrant+http://host?timeout_ms=9", ("host", 6333, "rest", False, None, 9, 32)),
        ("qdrants+http://host:443?pool_size=4", ("host", 443, "rest", True, None, 5000, 4)),
    ],
)
def test_address_says_protocol_encryption_and_limits(url: str, expected: tuple[Any, ...]) -> None:
    address = Address.parse(url)
    found = (address.host, address.port, address.protocol, address.tls, address.api_key)
    assert (*found, address.timeout_ms, address.pool_size) == expected


@pytest.mark.parametrize(
    "url",
    [
        "qdrant://",
        "qdrant://host:port",
        "qdrant://host?timeout_ms=soon",
        "qdrant://host?timeout_ms=0",
        "qdrant://:hidden@host?colour=red",
    ],
)
def test_malformed_address_names_the_variable_and_no_secret(url: str) -> None:
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_VECTOR_URL") as caught:
        QdrantIndex(url)
    assert "hidden" not in str(caught.value)
