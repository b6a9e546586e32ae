"""The OpenAI-compatible embedder against a real local server that misbehaves."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.adapters.openai import OpenAIEmbedder
from media_gateway.core.errors import (
    DeadlineExceededError,
    InvalidInputError,
    MediaGatewayError,
    NotConfiguredError,
    UnavailableError,
    UpstreamError,
)


class StubServer:
    """Gives each text a vector that tells its length; fails as often and in the way it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, Any], str | None]] = []
        self.failures: list[web.Response] = []
        self.answer: Any = None

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append((body, request.headers.get("Authorization")))
        if self.failures:
            return self.failures.pop(0)
        if self.answer is not None:
            return web.json_response(self.answer)
        data = [{"index": n, "embedding": [len(text), 0, 1.0]} for n, text in enumerate(body["input"])]
        return web.json_response({"data": data[::-1]})


@pytest.fixture
def stub() -> StubServer:
    return StubServer()


@pytest.fixture
async def url(stub: StubServer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/embeddings", stub.handle)
    async with TestServer(app) as server:
        yield f"openai+http://{server.host}:{server.port}/v1?model=m&dimension=3"


@pytest.fixture
async def embedder(url: str) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(url, api_key="sk-secret")
    yield embedder
    await embedder.close()


async def test_texts_travel_at_most_128_a_request_with_the_key(
    stub: StubServer, embedder: OpenAIEmbedder
) -> None:
    vectors = await embedder.embed(["x" * (n + 1) for n in range(300)])
    assert [len(body["input"]) for body, _ in stub.requests] == [128, 128, 44]
    assert {key for _, key in stub.requests} == {"Bearer sk-secret"}
    first = stub.requests[0][0]
    assert {name: first[name] for name in first if name != "input"} == {
        "model": "m",
        "encoding_format": "float",
    }
    np.testing.assert_allclose(vectors[:, 0] / vectors[:, 2], np.arange(1, 301), rtol=1e-5)


async def test_shortened_vectors_are_asked_for_only_when_configured(stub: StubServer, url: str) -> None:
    embedder = OpenAIEmbedder(f"{url}&shorten=true")
    await embedder.embed(["text"])
    await embedder.close()
    assert stub.requests[0][0]["dimensions"] == 3
    assert stub.requests[0][1] is None


async def test_busy_server_is_asked_again_after_the_time_it_named(
    stub: StubServer, embedder: OpenAIEmbedder
) -> None:
    stub.failures = [web.Response(status=429, headers={"Retry-After": "1"}), web.Response(status=500)]
    assert (await embedder.embed(["text"])).shape == (1, 3)
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("status", "error", "tries"),
    [
        (400, InvalidInputError, 1),
        (401, NotConfiguredError, 1),
        (403, NotConfiguredError, 1),
        (404, NotConfiguredError, 1),
        (422, InvalidInputError, 1),
        (500, UnavailableError, 4),
        (503, UnavailableError, 4),
        (504, DeadlineExceededError, 4),
    ],
)
async def test_refusals_become_our_errors(
    stub: StubServer, embedder: OpenAIEmbedder, status: int, error: type[MediaGatewayError], tries: int
) -> None:
    stub.failures = [web.Response(status=status, text="sk-secret") for _ in range(9)]
    with pytest.raises(error) as caught:
        await embedder.embed(["text"])
    assert len(stub.requests) == tries
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"data": [{"index": 0, "embedding": [1, 2]}]},
        {"data": [{"index": 1, "embedding": [1, 2, 3]}]},
        {"data": [{"index": 0, "embedding": [0, 0, 0]}]},
        {"data": [{"index": 0, "embedding": ["a", "b", "c"]}]},
        {"data": [{"index": 0, "embedding": None}]},
        {"data": [{"index": "0", "embedding": [1, 2, 3]}]},
        {"error": "?"},
        ["nothing"],
    ],
)
async def test_answers_that_are_no_embeddings_are_refused(
    stub: StubServer, embedder: OpenAIEmbedder, answer: Any
) -> None:
    stub.answer = answer
    with pytest.raises(UpstreamError, match="embedding server"):
        await embedder.embed(["text"])


@pytest.mark.parametrize(
    "url",
    [
        "openai://host/v1",
        "openai://host/v1?model=m",
        "openai://host/v1?model=m&dimension=many",
        "openai://host/v1?model=m&dimension=0",
        "openai://?model=m&dimension=3",
        "openai://host/v1?model=m&dimension=3&colour=red",
        "openai://host/v1?model=m&dimension=3&shorten=perhaps",
    ],
)
def test_malformed_address_names_the_variable(url: str) -> None:
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_EMBEDDER_URL"):
        OpenAIEmbedder(url)
