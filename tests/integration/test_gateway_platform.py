"""The gateway as the platform's face: its health, its document, pages of other origins, sockets."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from media_gateway.core.web import start_component
from media_gateway.gateway.table import Upstream
from tests.support.echo_component import serving
from tests.support.front_door import Service, bearer, gateway, service
from tests.support.servers import unused_port


@pytest.fixture
async def behind() -> AsyncIterator[Service]:
    async with service() as one:
        yield one


def report(status: str, *failing: str) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        parts = [{"name": name, "status": "unhealthy", "message": "away"} for name in failing]
        code = 503 if status == "unhealthy" else 200
        return web.json_response({"status": status, "components": parts}, status=code)

    return answer


@pytest.mark.parametrize(
    ("discovery", "sync_is_there", "expected"),
    [
        ("healthy", True, (200, "healthy")),
        ("degraded", True, (200, "degraded")),
        ("unhealthy", True, (503, "unhealthy")),
        ("healthy", False, (200, "degraded")),
    ],
)
async def test_the_platform_is_as_well_as_what_it_cannot_do_without(
    behind: Service, redis_url: str, discovery: str, sync_is_there: bool, expected: tuple[int, str]
):
    behind.answer = report(discovery, *([] if discovery == "healthy" else ["redis"]))
    async with service() as well:
        well.answer = report("healthy")
        sync_url = well.url if sync_is_there else f"http://127.0.0.1:{unused_port()}"
        async with gateway(redis_url, discovery_url=behind.url, auth_url=well.url, sync_url=sync_url) as door:
            for path in ("/health/aggregate", "/api/v1/status"):
                answer = await door.get(path)
                document = await answer.json()
                assert (answer.status, document["status"]) == expected
                assert [part["name"] for part in document["components"]] == ["discovery", "sync", "auth"]
            assert (await door.get("/health/ready")).status == 200


async def test_one_document_shows_what_can_be_reached(redis_url: str):
    async with serving() as (echo, _), gateway(redis_url, discovery_url=echo.url) as door:
        document = await (await door.get("/openapi.json")).json()
    # The echo component has none of discovery's addresses.
    assert set(document["paths"]) == {
        "/health",
        "/health/live",
        "/health/ready",
        "/health/aggregate",
        "/api/v1/status",
    }


async def test_the_document_holds_the_operations_of_real_services(redis_url: str, database_url: str):
    from pydantic import SecretStr

    from media_gateway.discovery.app import COMPONENT as DISCOVERY
    from media_gateway.discovery.settings import Settings

    settings = Settings(database_url=SecretStr(database_url), redis_url=SecretStr(redis_url))
    discovery = await start_component(DISCOVERY, settings, port=0)
    try:
        away = f"http://127.0.0.1:{unused_port()}"
        async with gateway(redis_url, discovery_url=discovery.url, sona_url=away) as door:
            document = await (await door.get("/openapi.json")).json()
            page = await door.get("/docs")
    finally:
        await discovery.drain()
    assert "post" in document["paths"]["/api/v1/search"]
    assert "/api/v1/content/{content_id}/similar" in document["paths"]
    assert "SearchResponse" in document["components"]["schemas"]
    assert "sona" in document["info"]["description"]
    assert page.status == 200


async def test_every_service_has_addresses():
    from media_gateway.gateway.table import TABLE

    assert {row.upstream for row in TABLE} == set(Upstream)


async def test_pages_of_an_allowed_origin_may_call_and_no_others(behind: Service, redis_url: str):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    origins = ("https://app.example",)
    async with gateway(redis_url, discovery_url=behind.url, cors_origins=origins) as door:
        good = await door.options("/api/v1/search", headers={"Origin": "https://app.example", **asks})
        assert good.status == 204
        assert good.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Authorization" in good.headers["Access-Control-Allow-Headers"]
        bad = await door.options("/api/v1/search", headers={"Origin": "https://evil.example", **asks})
        assert "Access-Control-Allow-Origin" not in bad.headers
        answer = await door.get("/api/v1/genres", headers={"Origin": "https://app.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        refused = await door.get("/api/v1/sync/watchlist", headers={"Origin": "https://app.example"})
        assert refused.status == 401
        assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example"
        strange = await door.get("/api/v1/genres", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in strange.headers
        assert strange.headers["Vary"] == "Origin"


async def test_sockets_go_through_with_their_protocol_and_their_end(behind: Service, redis_url: str):
    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["sync.v1"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data == "end":
                await socket.close(code=4001)
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(f"{request.headers['Authorization'][:6]} {message.data}")
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
        return socket

    behind.answer = answer
    async with gateway(redis_url, sync_url=behind.url) as door:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await door.ws_connect("/api/v1/sync/ws")
        assert refused.value.status == 401
        async with door.ws_connect("/api/v1/sync/ws", headers=bearer(), protocols=["sync.v1"]) as socket:
            assert socket.protocol == "sync.v1"
            await socket.send_str("hello")
            assert (await socket.receive(10)).data == "Bearer hello"
            await socket.send_bytes(b"abc")
            assert (await socket.receive(10)).data == b"cba"
            await socket.send_str("end")
            assert (await socket.receive(10)).type is WSMsgType.CLOSE
            assert socket.close_code == 4001


async def test_a_socket_to_a_service_that_is_away_is_refused(redis_url: str):
    async with gateway(redis_url, sync_url=f"http://127.0.0.1:{unused_port()}") as door:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await door.ws_connect("/api/v1/sync/ws", headers=bearer())
        assert refused.value.status == 503
