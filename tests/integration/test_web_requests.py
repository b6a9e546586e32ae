"""The web kit through a listening server: parsing, answers, identity, errors, authentication."""

import asyncio
import json
import re
import zlib
from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp
import pytest
from structlog.testing import capture_logs

from media_gateway.core.tokens import mint_token
from media_gateway.core.web import RunningComponent
from tests.support.echo_component import SECRET, send_raw, serving
from tests.support.web_session import THING, problem, running, server, session

__all__ = ["running", "server", "session"]


async def test_a_model_comes_back_as_it_was_sent(session: aiohttp.ClientSession):
    order = {
        "title": "Alien",
        "amount": 2,
        "when": "1979-05-25",
        "tree": {"name": "a", "parts": [{"name": "b", "parts": []}]},
    }
    answer = await session.post("/api/v1/orders", json=order)
    assert answer.status == 201
    assert answer.content_type == "application/json"
    assert (await answer.json()).items() >= order.items()


async def test_path_and_query_reach_the_handler_as_models(session: aiohttp.ClientSession):
    answer = await session.get(f"{THING}?limit=5&genre=drama&genre=war")
    body = await answer.json()
    assert body["thing_id"] in THING
    assert body["query"]["limit"] == 5
    assert body["query"]["genre"] == ["drama", "war"]


async def test_head_answers_like_get_without_a_body(session: aiohttp.ClientSession):
    answer = await session.head(THING)
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) > 0
    assert await answer.read() == b""


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"", 400),
        ("application/json", b'{"title": "\xff"}', 400),
        ("application/json; charset=utf-8", b'{"title": "x"}', 201),
        ("application/merge-patch+json", b'{"title": "x"}', 201),
        ("application/json; charset=latin-1", b'{"title": "x"}', 415),
        ("text/plain", b'{"title": "x"}', 415),
        ("application/jsonx", b'{"title": "x"}', 415),
        ("", b'{"title": "x"}', 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        (";;;", b'{"title": "x"}', 415),
    ],
)
async def test_only_json_in_utf_8_is_read(session: aiohttp.ClientSession, content_type, body, status):
    answer = await session.post("/api/v1/orders", data=body, headers={"Content-Type": content_type})
    assert answer.status == status
    if status == 415:
        assert (await problem(answer, 415))["errors"][0]["field"] == "Content-Type"


async def test_a_missing_content_type_is_refused(running: RunningComponent):
    request = b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert (await send_raw(running.url, request)).startswith(b"HTTP/1.1 415 ")


async def test_a_body_over_the_limit_is_refused_unread_or_counted_in_chunks(session: aiohttp.ClientSession):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 100

    headers = {"Content-Type": "application/json"}
    for body in (b" " * 10_001, chunks()):
        document = await problem(await session.post("/api/v1/orders", data=body, headers=headers), 413)
        assert document["code"] == "payload_too_large"
        assert document["limit_bytes"] == 10_000
    assert (await session.post("/api/v1/raw", data=b"x" * 100)).status == 200
    await problem(await session.post("/api/v1/raw", data=b"x" * 101), 413)


async def test_ten_megabytes_get_an_answer_and_a_usable_server(session: aiohttp.ClientSession):
    headers = {"Content-Type": "application/json"}
    await problem(await session.post("/api/v1/orders", data=b" " * 10_000_000, headers=headers), 413)
    assert (await session.get("/health/live")).status == 200


async def test_compressed_bodies_are_counted_after_unpacking_and_may_be_broken(
    session: aiohttp.ClientSession,
):
    headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
    bomb = zlib.compress(b" " * 5_000_000)
    assert len(bomb) < 10_000
    await problem(await session.post("/api/v1/orders", data=bomb, headers=headers), 413)
    await problem(await session.post("/api/v1/orders", data=b"not deflate", headers=headers), 400)


async def test_noise_on_the_port_is_400_and_does_not_fill_the_log(running: RunningComponent, caplog):
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ):
        assert (await send_raw(running.url, noise)).startswith(b"HTTP/1.0 400 ")
    assert not caplog.records


async def test_a_body_cut_short_does_no_harm(running: RunningComponent, session: aiohttp.ClientSession):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    writer.write(
        b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await reader.read()
    assert (await session.get("/health/live")).status == 200


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (f"{THING}?limit=1&limit=2", "limit"),
        (f"{THING}?text=%00", "query"),
        (f"{THING}?text=%ff", "query"),
        (f"{THING}?bogus=1", "bogus"),
        (f"{THING}?after=99999999999999999999", "after"),
        ("/api/v1/things/%00", "path"),
        ("/api/v1/things/%ff", "path"),
        ("/api/v1/things/nonsense", "thing_id"),
        ("/nowhere/%00", "path"),
    ],
)
async def test_bad_addresses_are_input_errors_that_name_the_place(
    running: RunningComponent, target: str, field: str
):
    answer = await send_raw(
        running.url, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), answer
    assert json.loads(body)["errors"][0]["field"] == field


async def test_unknown_addresses_and_methods_are_problem_documents(session: aiohttp.ClientSession):
    assert (await problem(await session.get("/nowhere"), 404))["code"] == "not_found"
    answer = await session.put("/api/v1/orders", json={})
    assert (await problem(answer, 405))["code"] == "method_not_allowed"
    assert answer.headers["Allow"] == "POST"
    await problem(await session.request("PROPFIND", "/api/v1/orders"), 405)


async def test_known_errors_carry_their_code_retry_and_details(session: aiohttp.ClientSession):
    answer = await session.get("/api/v1/busy")
    document = await problem(answer, 429)
    assert document["code"] == "rate_limited"
    assert document["retryable"] is True
    assert document["retry_after_ms"] == 1500
    assert answer.headers["Retry-After"] == "2"
    assert document["limit"] == 10
    away = await session.get("/api/v1/away")
    assert (await problem(away, 503))["detail"] == "the kitchen is closed"
    assert away.headers["Retry-After"] == "1"


async def test_an_unforeseen_error_is_logged_with_its_stack_and_hidden_from_the_caller(
    session: aiohttp.ClientSession,
):
    with capture_logs() as lines:
        answer = await session.get("/api/v1/broken")
    document = await problem(answer, 500)
    assert "hunter2" not in json.dumps(document)
    assert "ZeroDivision" not in json.dumps(document)
    (line,) = lines
    assert (line["event"], line["log_level"], line["status"]) == ("request", "error", 500)
    assert isinstance(line["exc_info"], ZeroDivisionError)


async def test_an_error_after_half_an_answer_breaks_the_connection(session: aiohttp.ClientSession):
    with capture_logs() as lines, pytest.raises(aiohttp.ClientPayloadError):
        await (await session.get("/api/v1/half")).read()
    (line,) = lines
    assert (line["status"], bool(line["exc_info"])) == (500, True)


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Correlation-ID"])
async def test_a_sane_request_id_is_kept(session: aiohttp.ClientSession, header: str):
    answer = await session.get("/health/live", headers={header: "abc-123"})
    assert answer.headers["X-Request-Id"] == "abc-123"


@pytest.mark.parametrize("offered", ["", "has space", "x" * 129, "<script>", "ünïcode"])
async def test_another_request_id_is_replaced(session: aiohttp.ClientSession, offered: str):
    answer = await session.get("/health/live", headers={"X-Request-Id": offered})
    assert UUID(answer.headers["X-Request-Id"]).version == 7


async def test_one_line_a_request_tells_who_what_and_how_long(session: aiohttp.ClientSession):
    token = mint_token(SECRET, "user-1")
    with capture_logs() as lines:
        await session.get(THING)
        await session.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        await session.get("/nowhere/secret-id")
    logged = [line for line in lines if line["event"] == "request"]
    assert [line["route"] for line in logged] == ["/api/v1/things/{thing_id}", "/api/v1/me", "unmatched"]
    assert [line["status"] for line in logged] == [200, 200, 404]
    assert all(line["latency_ms"] > 0 for line in logged)
    assert logged[0]["caller"] == "anonymous"
    assert re.fullmatch(r"[0-9a-f]{16}", logged[1]["caller"])


async def test_metrics_count_by_template_and_never_by_address(session: aiohttp.ClientSession):
    await session.get(THING)
    await session.get("/nowhere/secret-id")
    await session.request("PROPFIND", "/nowhere/secret-id")
    text = await (await session.get("/metrics")).text()
    assert re.search(
        r'mgw_http_requests_total\{component="echo",method="GET",route="/api/v1/things/{thing_id}",status="200"\} ',
        text,
    )
    assert 'method="OTHER",route="unmatched",status="404"' in text
    assert "secret-id" not in text
    assert "PROPFIND" not in text
    bounds = re.findall(
        r'mgw_http_request_duration_seconds_bucket\{component="echo",le="([^"]+)",method="GET",route="unmatched"',
        text,
    )
    assert bounds == [
        "0.001",
        "0.005",
        "0.01",
        "0.025",
        "0.05",
        "0.1",
        "0.25",
        "0.5",
        "1.0",
        "2.5",
        "5.0",
        "+Inf",
    ]
    assert 'mgw_http_requests_in_flight{component="echo"} 1.0' in text, "the scrape itself"


async def test_metrics_are_not_on_a_service_port_that_others_can_reach():
    async with serving(service_host="0.0.0.0") as (_, session):
        assert (await session.get("/metrics")).status == 404


async def test_every_answer_carries_the_security_headers(session: aiohttp.ClientSession):
    for path in ("/health", "/nowhere", THING):
        headers = (await session.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Server"] == "media-gateway"


async def test_a_request_over_its_deadline_is_504(session: aiohttp.ClientSession):
    headers = {"X-Request-Deadline-Ms": "50"}
    document = await problem(await session.get("/api/v1/sleep?ms=60000", headers=headers), 504)
    assert document["code"] == "deadline_exceeded"
    assert document["retryable"] is True


@pytest.mark.parametrize("value", ["", "-1", "0", "1e3", "soon", "9" * 30])
async def test_a_deadline_that_is_no_number_of_milliseconds_is_400(
    session: aiohttp.ClientSession, value: str
):
    answer = await session.get(THING, headers={"X-Request-Deadline-Ms": value})
    assert (await problem(answer, 400))["errors"][0]["field"] == "X-Request-Deadline-Ms"


async def test_our_own_limit_holds_without_a_deadline_header():
    async with serving(request_timeout_ms=50) as (_, session):
        await problem(await session.get("/api/v1/sleep?ms=60000"), 504)


async def test_docs_and_document_are_served_from_here_under_a_strict_policy(session: aiohttp.ClientSession):
    page = await session.get("/docs")
    assert page.content_type == "text/html"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    for link in re.findall(r'(?:src|href)="(docs/[^"]+)"', await page.text()):
        asset = await session.get(f"/{link}")
        assert asset.status == 200
        assert asset.content_type in {"text/css", "text/javascript"}
    document = await (await session.get("/openapi.json")).json()
    assert document["info"]["title"] == "Media Gateway: echo"


async def test_a_failed_request_is_one_line_that_says_why(session: aiohttp.ClientSession):
    with capture_logs() as lines:
        await session.get("/api/v1/away")
        await session.post("/api/v1/orders", json={"title": 7})
    away, wrong = lines
    assert (away["log_level"], away["code"], away["problem"]) == (
        "warning",
        "unavailable",
        "the kitchen is closed",
    )
    assert (wrong["log_level"], wrong["code"]) == ("info", "invalid_input")
    assert wrong["problem"].startswith("title: ")


REFUSED = {
    "oversize Authorization": (
        b"GET /api/v1/who HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"hunter2" * 1300,
        431,
    ),
    "oversize address": (b"GET /api/v1/who?" + b"hunter2" * 1300 + b" HTTP/1.1\r\nHost: x", 431),
    "unknown method": (b"HUNTER2 / HTTP/1.1\r\nHost: x", 400),
    "no HTTP": (b"hunter2", 400),
    "bad header": (b"GET / HTTP/1.1\r\nHost: x\r\nhunter2 hunter2", 400),
    "bad length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: hunter2", 400),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_no_request_gets_a_problem_document_that_repeats_nothing(
    running: RunningComponent, kind: str
):
    sent, status = REFUSED[kind]
    with capture_logs() as lines:
        answer = await send_raw(running.url, sent + b"\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    document = json.loads(body)
    assert document["status"] == status
    assert f"X-Request-Id: {document['request_id']}".encode() in head
    assert b"hunter2" not in answer.lower()
    assert [(line["event"], line["status"]) for line in lines] == [("request", status)]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_it_says_is_400_without_a_traceback(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, coding: str
):
    answer = await session.post(
        "/api/v1/orders",
        data=b"not compressed",
        headers={"Content-Encoding": coding, "Content-Type": "application/json"},
    )
    await problem(answer, 400)
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]
