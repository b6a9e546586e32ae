"""Kept answers as a caller sees them: the same bytes, shared by replicas, and never with what was removed."""

import json
from typing import Any

import pytest

from tests.support.discovery import Discovery, relaying, running_discovery
from tests.support.films import Film, remove, save
from tests.support.waiting import eventually

STAYS = Film(title="Harbour Lights", overview="A pilot goes home.")
GOES = Film(title="Harbour Nights", overview="A pilot stays away.")


async def ask(discovery: Discovery, query: str, **more: Any) -> tuple[str, str, bytes]:
    """The state of the cache, the id of the search, and the bytes."""
    body = {"query": query, **more}
    async with discovery.session.post(f"{discovery.url}/api/v1/search", json=body) as response:
        assert response.status == 200
        return response.headers["X-Cache"], response.headers["X-Search-Id"], await response.read()


def titles(body: bytes) -> set[str]:
    return {result["content"]["title"] for result in json.loads(body)["results"]}


@pytest.fixture
async def discovery(database, database_url, redis_url):
    await save(database, STAYS, GOES)
    async with running_discovery(database_url, redis_url, index_batch_ms=1) as running:
        await eventually(lambda: ready(running), timeout_s=30)
        yield running


async def ready(discovery: Discovery) -> bool:
    return (await discovery.get("/health/ready"))[0] == 200


async def kept(discovery: Discovery, query: str) -> bytes:
    """An answer that comes from the cache."""

    async def hit() -> bytes | None:
        state, _, body = await ask(discovery, query)
        return body if state == "HIT" else None

    body = await eventually(hit, timeout_s=10)
    assert body is not None
    return body


async def test_a_kept_answer_is_the_same_bytes_and_a_search_of_its_own(discovery):
    state, first, made = await ask(discovery, "harbour")
    assert state in {"MISS", "BYPASS"}
    assert await kept(discovery, "harbour") == made
    state, second, body = await ask(discovery, "  HARBOUR ")
    assert (state, body) == ("HIT", made)
    assert second != first


async def test_what_is_asked_otherwise_is_answered_otherwise(discovery):
    await kept(discovery, "harbour")
    for more in (
        {"page_size": 1},
        {"page": 2},
        {"filters": {"year_from": 1990}},
        {"variant": "rrf"},
        {"explain": True},
    ):
        assert (await ask(discovery, "harbour", **more))[0] == "MISS", more


async def test_removed_content_is_in_no_answer_once_the_index_knows(discovery, database, redis):
    assert titles(await kept(discovery, "harbour")) == {"Harbour Lights", "Harbour Nights"}
    async with relaying(database, redis):
        await remove(database, GOES.id)

        async def gone() -> bool:
            return titles((await ask(discovery, "harbour"))[2]) == {"Harbour Lights"}

        await eventually(gone, timeout_s=30)
        for _ in range(50):
            assert titles((await ask(discovery, "harbour"))[2]) == {"Harbour Lights"}


async def test_a_replica_that_starts_finds_what_others_have_kept(discovery, database_url, redis_url):
    made = await kept(discovery, "harbour")
    async with running_discovery(database_url, redis_url) as other:
        await eventually(lambda: ready(other), timeout_s=30)
        assert await kept(other, "harbour") == made
        assert await kept(discovery, "harbour") == made
