"""HTTP sources against a real server: the ways to page, credentials, limits, and servers that fail."""

import asyncio
import base64
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from media_gateway.core.errors import (
    InvalidInputError,
    NotConfiguredError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from media_gateway.ingestion.sources import BadItem, RawRecord, SourceItem
from tests.support.ingestion_sources import films, ndjson, read_all, source_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server whose answers a test gives, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Handler | None = None
        self.asked: list[web.Request] = []
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        assert self.answer is not None
        return await self.answer(request)

    def spec(self, path: str = "/films", kind: str = "JSON", **http: object) -> dict[str, Any]:
        source: dict[str, Any] = {
            "type": "HTTP",
            "format": kind,
            "http": {"url": str(self.server.make_url(path)), **http},
        }
        if kind == "JSON":
            source["json"] = {"recordsPath": "results"}
        return source


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with made.server:
        yield made


def ids(items: list[SourceItem]) -> list[int]:
    bad = [item for item in items if not isinstance(item, RawRecord)]
    assert bad == []
    return [item.payload["id"] for item in items if isinstance(item, RawRecord)]


async def test_a_cursor_is_followed_until_a_page_has_none(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        place = int(request.query.get("after", 0))
        cursor = place + 3 if place < 9 else None
        return web.json_response({"results": films(3, place), "meta": {"next": cursor, "count": 12}})

    site.answer = answer
    paging = {"type": "Cursor", "parameter": "after", "cursorPath": "meta.next", "totalPath": "meta.count"}
    source = source_of(
        site.spec(pagination={**paging, "size": 3, "sizeParameter": "limit"}, query={"lang": "en"})
    )
    items = await read_all(source)
    assert ids(items) == list(range(12))
    assert await source.estimate() == source.units_read == 12
    assert {request.query["limit"] for request in site.asked} == {"3"}
    assert {request.query["lang"] for request in site.asked} == {"en"}
    assert ids(await read_all(source, items[4].checkpoint)) == list(range(5, 12))


async def test_a_server_that_ignores_the_page_number_is_told_instead_of_read_for_ever(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"results": films(3), "page": request.query["p"]})

    site.answer = answer
    source = source_of(site.spec(pagination={"type": "Page", "parameter": "p"}))
    with pytest.raises(UpstreamError, match=r"page 2 is the same as the one before.*'p'"):
        await read_all(source)
    assert len(site.asked) == 2


async def test_links_are_followed_without_keeping_the_key(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        page = int(request.query.get("page", 0))
        # A server that repeats the whole query in its links, the key too.
        following = request.url.update_query(page=str(page + 1))
        headers = {"Link": f'<{following}>; rel="next"'} if page < 2 else {}
        return web.json_response({"results": films(2, page * 2)}, headers=headers)

    site.answer = answer
    auth = {"type": "Query", "name": "api_key", "secretRef": {"name": "films", "key": "api-key"}}
    secrets = {"MEDIA_GATEWAY_SECRET_FILMS_API_KEY": "s3cret"}
    items = await read_all(source_of(site.spec(auth=auth, pagination={"type": "Link"}), secrets=secrets))
    assert ids(items) == [0, 1, 2, 3, 4, 5]
    assert all(request.query["api_key"] == "s3cret" for request in site.asked)
    assert not any("s3cret" in item.checkpoint for item in items)


async def test_a_link_to_another_host_gets_no_credentials(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        link = '<http://elsewhere.example/films?page=2>; rel="next"'
        return web.json_response({"results": films(2)}, headers={"Link": link})

    site.answer = answer
    with pytest.raises(UpstreamError, match=r"elsewhere\.example"):
        await read_all(source_of(site.spec(pagination={"type": "Link"})))


@pytest.mark.parametrize(
    "paging", [{"type": "Link"}, {"type": "Cursor", "parameter": "c", "cursorPath": "next"}]
)
async def test_a_server_that_gives_the_same_page_for_ever_is_noticed(
    site: Site, paging: dict[str, Any]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"Link": f'<{request.url}>; rel="next"'}
        return web.json_response({"results": films(2), "next": "same"}, headers=headers)

    site.answer = answer
    with pytest.raises(UpstreamError, match="for ever"):
        await read_all(source_of(site.spec(pagination=paging)))


async def test_pages_end_at_the_last_page_or_the_limit(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"results": films(1, int(request.query["p"])), "pages": 3})

    site.answer = answer
    paging: dict[str, Any] = {"type": "Page", "parameter": "p", "start": 0}
    limited = source_of(site.spec(pagination={**paging, "maxPages": 5}))
    assert ids(await read_all(limited)) == [0, 1, 2, 3, 4]
    paging = {"type": "Page", "parameter": "p", "lastPagePath": "pages"}
    assert ids(await read_all(source_of(site.spec(pagination=paging)))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "Bearer"}, "Authorization", "Bearer s3cret"),
        ({"type": "Header", "name": "X-Api-Key"}, "X-Api-Key", "s3cret"),
        (
            {"type": "Basic", "name": "me"},
            "Authorization",
            "Basic " + base64.b64encode(b"me:s3cret").decode(),
        ),
    ],
)
async def test_credentials_come_from_the_secret(
    site: Site, auth: dict[str, Any], header: str, value: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(
            {"results": films(1)}, status=200 if request.headers.get(header) == value else 401
        )

    site.answer = answer
    spec = site.spec(auth={**auth, "secretRef": {"name": "films", "key": "key"}})
    assert ids(await read_all(source_of(spec, secrets={"MEDIA_GATEWAY_SECRET_FILMS_KEY": "s3cret"}))) == [1]
    with pytest.raises(UnauthenticatedError, match="401"):
        await read_all(source_of(spec, secrets={"MEDIA_GATEWAY_SECRET_FILMS_KEY": "wrong"}))
    with pytest.raises(NotConfiguredError, match="MEDIA_GATEWAY_SECRET_FILMS_KEY"):
        source_of(spec)


async def test_a_busy_server_is_asked_again_no_sooner_than_it_says(site: Site) -> None:
    times = []

    async def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.Response(status=429, headers={"Retry-After": "1"})
        if len(times) == 2:
            return web.Response(status=502)
        return web.json_response({"results": films(2)})

    site.answer = answer
    assert ids(await read_all(source_of(site.spec()))) == [1, 2]
    assert times[1] - times[0] >= 1.0


async def test_an_outage_ends_the_read_as_retryable(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500)

    site.answer = answer
    with pytest.raises(UnavailableError, match="500"):
        await read_all(source_of(site.spec(maxRetries=1)))
    assert len(site.asked) == 2


async def test_a_connection_cut_in_the_middle_of_a_page_gives_no_half_page(site: Site) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = json.dumps({"results": films(50)}).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2] if len(site.asked) == 1 else body)
        if len(site.asked) == 1:
            assert request.transport is not None
            request.transport.close()
        return response

    site.answer = answer
    assert ids(await read_all(source_of(site.spec()))) == list(range(1, 51))
    assert len(site.asked) == 2


async def test_a_slow_server_is_given_up(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response({})

    site.answer = answer
    started = time.monotonic()
    with pytest.raises(Exception, match="too long") as caught:
        await read_all(source_of(site.spec(timeoutSeconds=1, maxRetries=0)))
    assert caught.value.retryable  # type: ignore[attr-defined]
    assert time.monotonic() - started < 15


async def test_requests_keep_the_rate_limit(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return web.json_response({"results": films(1, page) if page <= 4 else []})

    site.answer = answer
    spec = site.spec(pagination={"type": "Page", "parameter": "page"}, rateLimit={"requestsPerSecond": 20})
    started = time.monotonic()
    assert ids(await read_all(source_of(spec))) == [1, 2, 3, 4]
    assert time.monotonic() - started >= 4 / 20


async def test_a_body_over_the_limit_is_refused(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"results": films(100)})

    site.answer = answer
    with pytest.raises(InvalidInputError, match="maxResponseBytes"):
        await read_all(source_of(site.spec(maxResponseBytes=2048)))


async def test_a_compressed_download_is_read_line_by_line(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        body = gzip.compress(ndjson(films(500)) + b"broken\n")
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    site.answer = answer
    items = await read_all(source_of(site.spec("/films.ndjson", "NDJSON")))
    assert ids(items[:-1]) == list(range(1, 501))
    assert isinstance(items[-1], BadItem)
    assert items[-1].line == 501


async def test_an_answer_that_is_no_json_is_one_bad_item(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"<html>maintenance</html>")

    site.answer = answer
    (item,) = await read_all(source_of(site.spec()))
    assert isinstance(item, BadItem)
    assert "not JSON" in item.reason
    assert "maintenance" in item.excerpt


async def test_an_error_page_in_place_of_records_ends_the_read(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return web.json_response({"results": films(2, page)}) if page < 3 else web.Response(body=b"<html>")

    site.answer = answer
    source = source_of(site.spec(pagination={"type": "Page", "parameter": "page"}))
    given = []

    async def collect() -> None:
        async for item in source.read(None, None):
            given.append(item)  # noqa: PERF401 - what came before the error is looked at

    with pytest.raises(UpstreamError, match="nothing readable"):
        await collect()
    assert [type(item) for item in given] == [RawRecord] * 4 + [BadItem]
    assert len(site.asked) == 3


async def test_details_replace_the_records_of_a_list(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/films":
            return web.json_response(
                {"results": [{"id": 1}, {"id": 2}, {"name": "without id"}, {"id": "a/b?"}]}
            )
        if request.path == "/film/2":
            return web.Response(status=404)
        return web.json_response({"path": request.rel_url.raw_path})

    site.answer = answer
    detail = str(site.server.make_url("/film/")) + "{id}"
    one, two, three, four = await read_all(source_of(site.spec(detailUrl=detail)))
    assert isinstance(one, RawRecord)
    assert one.payload == {"path": "/film/1"}
    assert isinstance(two, BadItem)
    assert "404" in two.reason
    assert isinstance(three, BadItem)
    assert "'id'" in three.reason
    assert isinstance(four, RawRecord)
    assert four.payload == {"path": "/film/a%2Fb%3F"}
    with pytest.raises(InvalidInputError, match="same host"):
        source_of(site.spec(detailUrl="https://elsewhere.example/{id}"))


async def test_an_incremental_read_asks_for_what_is_new(site: Site) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"results": films(9)})

    site.answer = answer
    source = source_of(site.spec(cursorParameter="since"), cursor_field="changed")
    items = await read_all(source, cursor="2026-01-05T00:00:00Z")
    assert site.asked[0].query["since"] == "2026-01-05T00:00:00Z"
    assert [item.cursor for item in items if isinstance(item, RawRecord)] == [
        f"2026-01-{day:02d}T00:00:00Z" for day in range(6, 11)
    ]
