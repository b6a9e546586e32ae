"""A running echo component and a client of it; import the fixtures where they are wanted."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from media_gateway.core.web import RunningComponent
from tests.support.echo_component import serving

THING = "/api/v1/things/01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
async def server() -> AsyncIterator[tuple[RunningComponent, aiohttp.ClientSession]]:
    async with serving(body_limit_bytes=10_000) as both:
        yield both


@pytest.fixture
def running(server: tuple[RunningComponent, aiohttp.ClientSession]) -> RunningComponent:
    return server[0]


@pytest.fixture
def session(server: tuple[RunningComponent, aiohttp.ClientSession]) -> aiohttp.ClientSession:
    return server[1]


async def problem(answer: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = await answer.json()
    assert document["status"] == status
    assert document["type"] == f"tag:mediagateway.io,2025:problem/{document['code']}"
    assert document["request_id"] == answer.headers["X-Request-Id"]
    return document
