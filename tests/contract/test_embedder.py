"""What every embedder promises, on every adapter. The OpenAI-compatible server serves the same model."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.adapters.openai import OpenAIEmbedder
from media_gateway.core.errors import InvalidInputError, UnavailableError
from media_gateway.core.ports.embedder import Embedder

pytestmark = pytest.mark.models


@pytest.fixture
async def minilm(models_path: Path) -> AsyncIterator[MiniLMEmbedder]:
    embedder = MiniLMEmbedder(models_path)
    yield embedder
    await embedder.close()


@pytest.fixture(params=["minilm", "openai"])
async def embedder(request: pytest.FixtureRequest, minilm: MiniLMEmbedder) -> AsyncIterator[Embedder]:
    if request.param == "minilm":
        yield minilm
        return

    async def embeddings(http: web.Request) -> web.Response:
        body = await http.json()
        vectors = await minilm.embed(body["input"])
        data = [{"index": n, "embedding": (3 * vector).tolist()} for n, vector in enumerate(vectors)]
        return web.json_response({"object": "list", "model": body["model"], "data": data[::-1]})

    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/v1/embeddings", embeddings)
    async with TestServer(app) as server:
        url = f"openai+http://{server.host}:{server.port}/v1?model=all-MiniLM-L6-v2&dimension=384"
        embedder = OpenAIEmbedder(url)
        yield embedder
        await embedder.close()


async def test_vectors_are_normalised_rows_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = [f"{'very ' * (n * 7 % 40)}film number {n}" for n in range(300)]

    vectors = await embedder.embed(texts)

    assert vectors.shape == (300, embedder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    for n in (0, 128, 299):
        alone = await embedder.embed([texts[n]])
        assert float(alone[0] @ vectors[n]) >= 0.98  # int8 depends a little on what else is in the batch
        assert int(np.argmax(vectors @ alone[0])) == n


async def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    vectors = await embedder.embed([])
    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("a man rides a horse", "someone on horseback", "the stock market fell"),
        ("a heist in a casino", "thieves plan to rob a gambling house", "a family of penguins"),
        ("two people fall in love in Paris", "a romance in the French capital", "submarine warfare"),
        ("the ship sinks in the Atlantic", "an ocean liner goes down", "learning to cook pasta"),
    ],
)
async def test_texts_of_like_meaning_are_nearer(embedder: Embedder, text: str, near: str, far: str) -> None:
    vectors = await embedder.embed([text, near, far])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@pytest.mark.parametrize("text", ["", "   ", "\0", "🎬" * 50, "東京物語", "x" * 500_000, "word " * 200_000])
async def test_odd_texts_have_finite_vectors(embedder: Embedder, text: str) -> None:
    vectors = await embedder.embed([text, "plain"])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


async def test_broken_unicode_is_refused_by_place(embedder: Embedder) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await embedder.embed(["fine"] * 70 + ["broken \ud800"])
    assert caught.value.errors[0].field == "texts.70"


async def test_concurrent_calls_get_their_own_answers(embedder: Embedder) -> None:
    words = ["war", "love", "space", "horses", "money", "winter", "music", "ghosts"]
    expected = await embedder.embed(words)
    answers = await asyncio.gather(*(embedder.embed([word]) for word in words))
    for n, answer in enumerate(answers):
        assert int(np.argmax(expected @ answer[0])) == n


async def test_ping_returns_and_closed_embedder_refuses(embedder: Embedder) -> None:
    assert embedder.model == "all-MiniLM-L6-v2"
    await embedder.ping()
    await embedder.close()
    with pytest.raises(UnavailableError, match="closed"):
        await embedder.embed(["late"])


async def test_embedders_without_model_or_server_are_unavailable(tmp_path: Path, free_port: int) -> None:
    missing: list[Embedder] = [
        MiniLMEmbedder(tmp_path),
        OpenAIEmbedder(f"openai+http://127.0.0.1:{free_port}/v1?model=m&dimension=3"),
    ]
    for embedder in missing:
        with pytest.raises(UnavailableError):
            await embedder.embed(["text"])
        with pytest.raises(UnavailableError):
            await embedder.ping()
        await embedder.close()
