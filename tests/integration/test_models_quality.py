"""The quantised model against the exact one, and queries beside a load of documents."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from media_gateway.core.adapters.minilm import MiniLMEmbedder
from media_gateway.core.adapters.minilm.artifacts import FP32_FILE, MODEL_FILE, TOKENIZER_FILE, model_folder
from media_gateway.core.adapters.minilm.model import MiniLM

pytestmark = pytest.mark.models

DOCUMENTS = (
    "A shark terrorises a small beach town in the summer, and the police chief goes to sea to kill it.",
    "Astronauts are stranded in orbit after debris destroys their shuttle.",
    "A boy finds out that he is a wizard and goes to a school of magic.",
    "The head of a New York mafia family hands his empire to a reluctant son.",
    "Dinosaurs brought back to life escape in a theme park on an island.",
    "A ship hits an iceberg on its first voyage; a poor artist and a rich girl fall in love aboard.",
    "A clownfish crosses the ocean to find his lost son.",
    "Toys come to life when people are not around, and a cowboy doll fears a new space toy.",
    "A detective hunts a killer who takes the seven deadly sins as his pattern.",
    "A jazz drummer at a conservatory is driven to the edge by a merciless teacher.",
    "A weatherman lives the same day over and over again.",
    "Samurai are hired by poor farmers to defend their village from bandits.",
    "A computer hacker learns that the world is a simulation run by machines.",
    "A rat dreams of becoming a chef in a famous Paris restaurant.",
    "A gladiator seeks revenge on the emperor who murdered his family.",
    "An alien is befriended by children who help it to get home.",
)
JUDGED = {
    "great white shark attack at the beach": 0,
    "lost in space above the earth": 1,
    "young wizard school": 2,
    "organised crime family": 3,
    "cloned prehistoric animals run wild": 4,
    "romance on a sinking ocean liner": 5,
    "father fish searching for his child": 6,
    "living toys": 7,
    "serial killer murders by sins": 8,
    "music student with an abusive instructor": 9,
    "time loop comedy": 10,
    "warriors protect villagers from raiders": 11,
    "virtual reality rebellion against machines": 12,
    "animal who cooks gourmet food in France": 13,
    "arena fighter in ancient Rome": 14,
    "extraterrestrial wants to phone home": 15,
}
PUBLISHED = (0.0676569, 0.0634959, 0.0487131, 0.0793049, 0.0374480)
"""First components of "This is an example sentence", as the model's own page prints them."""


@pytest.fixture(scope="module")
def exact(models_path: Path) -> MiniLM:
    return _open(models_path, FP32_FILE)


@pytest.fixture(scope="module")
def quantised(models_path: Path) -> MiniLM:
    return _open(models_path, MODEL_FILE)


def _open(models_path: Path, name: str) -> MiniLM:
    folder = model_folder(models_path)
    return MiniLM(folder / name, folder / TOKENIZER_FILE)


def test_exact_model_gives_the_published_numbers(exact: MiniLM) -> None:
    vector = exact.embed(["This is an example sentence"])[0]
    np.testing.assert_allclose(vector[: len(PUBLISHED)], PUBLISHED, atol=2e-6)


def test_quantised_vectors_are_within_098_of_the_exact_ones(exact: MiniLM, quantised: MiniLM) -> None:
    texts = [*DOCUMENTS, *JUDGED]
    cosines = np.sum(exact.embed(texts) * quantised.embed(texts), axis=1)
    assert cosines.min() >= 0.98
    assert cosines.mean() >= 0.99


def test_quantised_model_ranks_as_well_as_the_exact_one(exact: MiniLM, quantised: MiniLM) -> None:
    quality = {}
    orders = {}
    for name, model in (("exact", exact), ("quantised", quantised)):
        similarities = model.embed(list(JUDGED)) @ model.embed(DOCUMENTS).T
        order = np.argsort(-similarities, axis=1)
        ranks = [
            int(np.flatnonzero(row == right)[0]) + 1
            for row, right in zip(order, JUDGED.values(), strict=True)
        ]
        quality[name] = float(np.mean([1 / rank for rank in ranks]))
        orders[name] = order
    assert quality["quantised"] >= quality["exact"] - 0.02
    assert quality["exact"] >= 0.9
    assert float(np.mean(orders["exact"][:, 0] == orders["quantised"][:, 0])) >= 0.9


@pytest.fixture
async def embedder(models_path: Path) -> AsyncIterator[MiniLMEmbedder]:
    embedder = MiniLMEmbedder(models_path, threads=1)
    yield embedder
    await embedder.close()


async def test_query_passes_a_load_of_documents_on_the_same_thread(embedder: MiniLMEmbedder) -> None:
    load = asyncio.create_task(embedder.embed([f"{text} {n}" for n in range(60) for text in DOCUMENTS]))
    for query in list(JUDGED)[:5]:
        await embedder.embed([query])
    assert not load.done(), "five queries must be answered while the documents are still embedded"
    load.cancel()
    await asyncio.wait([load])


async def test_cancelled_load_frees_the_thread(embedder: MiniLMEmbedder) -> None:
    await embedder.embed(["warm"])
    load = asyncio.create_task(embedder.embed(["a long film text " * 20] * 5000))
    await embedder.embed(["a query in between"])
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    async with asyncio.timeout(5):  # the load itself would take more than a minute
        await embedder.embed(["after it"])


async def test_embedders_of_one_process_share_the_model(models_path: Path) -> None:
    one, other = MiniLMEmbedder(models_path), MiniLMEmbedder(models_path)
    await asyncio.gather(one.embed(["a"]), other.embed(["b"]))
    assert one._loaded is other._loaded
    await one.close()
    assert (await other.embed(["still works"])).shape == (1, 384)
    await other.close()
