"""Claims about `HttpClient`, against a real server that misbehaves on demand."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.deadline import Deadline, deadline_scope
from media_gateway.core.errors import (
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
    UpstreamError,
)
from media_gateway.core.http_client import Call, HttpClient, Limits
from media_gateway.core.retry import RetryPolicy

FAST = RetryPolicy(max_retries=2, base_delay_ms=1, max_delay_ms=5)


class Server:
    """Answers with the scripted statuses, then 200."""

    def __init__(self) -> None:
        self.script: list[int] = []
        self.seen: list[web.Request] = []
        self.headers: dict[str, str] = {}
        self.body = b'{"ok": true}'
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if request.path == "/hang":
            await asyncio.sleep(3600)
        if request.path == "/slow-body":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"{")
            await asyncio.sleep(3600)
        status = self.script.pop(0) if self.script else 200
        return web.Response(status=status, body=self.body, headers=self.headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = site.name
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[HttpClient]:
    made = HttpClient("upstream", server.url, policy=FAST, limits=Limits(timeout_ms=2_000, body_bytes=1_000))
    yield made
    await made.close()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_passing_failure_is_repeated(client: HttpClient, server: Server, status: int) -> None:
    server.script = [status, status]
    assert (await client.request("GET", "/x")).json() == {"ok": True}
    assert len(server.seen) == 3


async def test_post_is_sent_once_unless_declared_repeatable(client: HttpClient, server: Server) -> None:
    server.script = [503]
    with pytest.raises(UnavailableError):
        await client.request("POST", "/x", Call(json={}))
    server.script = [503]
    await client.request("POST", "/x", Call(json={}, repeatable=True))
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidInputError), (404, NotFoundError), (422, InvalidInputError), (501, UpstreamError)],
)
async def test_final_answer_is_not_repeated(
    client: HttpClient, server: Server, status: int, kind: type[Exception]
) -> None:
    server.script = [status] * 3
    with pytest.raises(kind):
        await client.request("GET", "/x")
    assert len(server.seen) == 1


async def test_retry_after_reaches_the_caller(client: HttpClient, server: Server) -> None:
    server.script, server.headers = [429] * 9, {"Retry-After": "7"}
    with pytest.raises(RateLimitedError) as caught:
        await client.request("GET", "/x", deadline=Deadline.after(1_000))
    assert caught.value.retry_after_ms == 7_000
    assert len(server.seen) == 1, "a wait of seven seconds does not fit into one"


@pytest.mark.parametrize("path", ["/hang", "/slow-body"])
async def test_deadline_covers_headers_and_body(client: HttpClient, path: str) -> None:
    with pytest.raises(DeadlineExceededError):
        await client.request("GET", path, deadline=Deadline.after(200))


async def test_what_is_left_of_the_deadline_is_sent_along(client: HttpClient, server: Server) -> None:
    async with deadline_scope(Deadline.after(1_500)):
        await client.request("GET", "/x")
    assert 0 < int(server.seen[0].headers["X-Request-Deadline-Ms"]) <= 1_500


async def test_call_that_carries_a_secret_is_not_redirected(client: HttpClient, server: Server) -> None:
    server.script, server.headers = [302], {"Location": "/elsewhere"}
    with pytest.raises(UpstreamError, match="answered 302"):
        await client.request("GET", "/x", Call(headers={"X-Key": "secret"}, follow_redirects=False))
    assert len(server.seen) == 1
    server.script = [302]
    assert (await client.request("GET", "/x")).status == 200
    assert server.seen[-1].path == "/elsewhere"


async def test_too_large_answer_is_an_error_not_memory(client: HttpClient, server: Server) -> None:
    server.body = b"x" * 5_000
    with pytest.raises(UpstreamError, match="more than 1000 bytes"):
        await client.request("GET", "/x")


async def test_answer_that_is_not_json_is_named(client: HttpClient, server: Server) -> None:
    server.body = b"<html>"
    with pytest.raises(UpstreamError, match="JSON"):
        (await client.request("GET", "/x")).json()


async def test_server_away_is_unavailable(free_port: int) -> None:
    client = HttpClient("gone", f"http://127.0.0.1:{free_port}", policy=FAST)
    with pytest.raises(UnavailableError, match=r"^gone can't be reached: connection refused$"):
        await client.request("GET", "/x")
    await client.close()


async def test_open_circuit_keeps_calls_away_from_a_failing_server(server: Server) -> None:
    breaker = CircuitBreaker("failing", BreakerPolicy(failures=3, open_ms=60_000))
    client = HttpClient("failing", server.url, policy=RetryPolicy(0, 0, 0), breaker=breaker)
    server.script = [500] * 100
    for _ in range(20):
        with pytest.raises((UpstreamError, UnavailableError)):
            await client.request("GET", "/x")
    assert len(server.seen) == 3
    await client.close()
