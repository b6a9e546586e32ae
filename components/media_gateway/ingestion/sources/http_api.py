"""HTTP sources: a download, or an API that gives its records in pages.

A body is received completely (on the disk when it is long) before its records are given: slow writing never makes the
server hang up, and a connection that breaks is noticed before half a page is used. Requests go through
`core.http_client`, which retries, honours Retry-After and keeps time.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote

import aiohttp
import jmespath
from jmespath.exceptions import JMESPathError
from yarl import URL

from media_gateway.core.domain.specs import HttpSource, Pagination, SourceSpec
from media_gateway.core.errors import InvalidInputError, NotFoundError, UnavailableError, UpstreamError
from media_gateway.core.http_client import RETRY_STATUSES, Call, HttpClient, Limits
from media_gateway.core.retry import RetryPolicy, is_retryable, retry_with_backoff
from media_gateway.ingestion.formats import START, Parsed, Position, UnreadableError, open_format
from media_gateway.ingestion.formats.json_objects import parse_object, parse_value
from media_gateway.ingestion.sources.http_auth import Credentials
from media_gateway.ingestion.sources.items import SourceItem
from media_gateway.ingestion.sources.reading import (
    Admission,
    in_thread,
    read_checkpoint,
    read_guarded,
    write_checkpoint,
)
from media_gateway.ingestion.sources.secret_values import Secrets

T = TypeVar("T")

MEMORY_BYTES = 4 * 1024 * 1024
"""A body above this goes to a temporary file."""

_PLACE = re.compile(r"\{(\w+)\}")

PAGE_BYTES = 64 * 1024 * 1024
"""Largest page whose body is looked into for cursor, last page or total."""


@dataclass(slots=True)
class _Page:
    """One answer: its address, its body, and what it says of the next."""

    url: URL
    body: BinaryIO
    link: URL | None
    document: Any = None


class HttpApiSource:
    """Reads an HTTP API page by page."""

    def __init__(self, spec: SourceSpec, secrets: Secrets, cursor_field: str | None) -> None:
        assert spec.http is not None
        self._http: HttpSource = spec.http
        detail = spec.http.detail_url
        if detail is not None and URL(_PLACE.sub("", detail)).origin() != URL(spec.http.url).origin():
            # The credentials of one host are not shown to another.
            raise InvalidInputError("spec.source.http.detailUrl: must be on the same host as url")
        self._reader = open_format(spec)
        self._json = spec.format == "JSON"
        self._cursor_field = cursor_field
        self._credentials = Credentials(spec.http.auth, secrets)
        self._paths = _Paths(spec.http.pagination)
        self._rate = _Rate(float(spec.http.rate_limit.requests_per_second) if spec.http.rate_limit else None)
        self._policy = RetryPolicy(
            max_retries=spec.http.max_retries, base_delay_ms=500, max_delay_ms=60_000, jitter=True
        )
        self._total: int | None = None
        self._read = 0

    @property
    def units_read(self) -> int:
        """Records given or passed over."""
        return self._read

    async def estimate(self) -> int | None:
        """Records in all, once a page has told."""
        return self._total

    async def read(self, checkpoint: str | None, cursor: str | None) -> AsyncGenerator[SourceItem]:
        """Records of all pages, from the page of the checkpoint on."""
        place = read_checkpoint(checkpoint, "url", "page", "at", "read")
        admission = Admission(self._cursor_field, cursor)
        url = self._first(cursor) if place is None else URL(place["url"], encoded=True)
        number = 1 if place is None else place["page"]
        position: Position = START if place is None else tuple(place["at"])
        self._read = 0 if place is None else place["read"]
        repeats = _Repeats(self._http.pagination)
        async with self._client() as client:
            while True:
                page = await self._get(client, url)
                async with _closing(page.body), aclosing(self._parse(page, position)) as records:
                    empty = True
                    readable = position != START
                    async for parsed in records:
                        empty = False
                        readable = readable or parsed.payload is not None
                        self._read += 1
                        repeats.see(parsed)
                        whole = await self._detail(client, parsed)
                        here = write_checkpoint(
                            url=str(url), page=number, at=parsed.position, read=self._read
                        )
                        item = admission.item(whole, here)
                        if item is not None:
                            yield item
                repeats.end_page(number, whole=position == START)
                # A page that was left in its middle is not empty, even if its rest is.
                following = self._next(page, url, number, empty=empty and position == START)
                if following is None or number >= self._http.pagination.max_pages:
                    return
                if not empty and not readable:
                    # An error page in place of records would otherwise be asked for under every number there is.
                    raise UpstreamError("a page holds nothing readable; those after it are not asked for")
                url, number, position = following, number + 1, START

    async def _parse(self, page: _Page, position: Position) -> AsyncGenerator[Parsed]:
        async with in_thread(lambda: read_guarded(self._reader, page.body, position)) as batches:
            async for batch in batches:
                for parsed in batch:
                    yield parsed

    def _first(self, cursor: str | None) -> URL:
        paging = self._http.pagination
        url = URL(self._http.url).update_query(dict(self._http.query))
        if paging.type == "Page" and paging.parameter:
            url = url.update_query({paging.parameter: str(paging.start)})
        if paging.size is not None and paging.size_parameter:
            url = url.update_query({paging.size_parameter: str(paging.size)})
        if cursor is not None and self._http.cursor_parameter:
            url = url.update_query({self._http.cursor_parameter: cursor})
        return url

    def _next(self, page: _Page, url: URL, number: int, *, empty: bool) -> URL | None:
        paging = self._http.pagination
        found = self._paths.read(page.document)
        if found.total is not None:
            self._total = found.total
        match paging.type:
            case "Page":
                following = paging.start + number
                if empty or (found.last is not None and following > found.last):
                    return None
                return url.update_query({str(paging.parameter): str(following)})
            case "Cursor":
                if found.cursor is None:
                    return None
                following_url = url.update_query({str(paging.parameter): found.cursor})
                if following_url == url:
                    raise UpstreamError(
                        "the source gave the same page cursor twice; it would be read for ever"
                    )
                return following_url
            case "Link":
                return self._same_origin(url, page.link)
            case "None":
                return None

    def _same_origin(self, url: URL, link: URL | None) -> URL | None:
        if link is None:
            return None
        if link.origin() != url.origin():
            raise UpstreamError(
                f"the source's next page lies on another host ({link.host}); it is not followed"
            )
        if link == url:
            raise UpstreamError("the source's next page is the page itself; it would be read for ever")
        # A server may repeat our query in its links; secrets must not get into checkpoints.
        return self._credentials.stripped(link)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[HttpClient]:
        limits = Limits(
            timeout_ms=self._http.timeout_seconds * 1000, body_bytes=self._http.max_response_bytes
        )
        origin = URL(self._http.url).origin()
        client = HttpClient(f"source {origin.host}", str(origin), limits=limits, policy=self._policy)
        try:
            yield client
        finally:
            await client.close()

    def _call(self, headers: dict[str, str]) -> Call:
        # `_repeated` repeats, so that each try waits for its turn of the rate limit.
        return Call(headers=headers, repeatable=False, follow_redirects=not self._credentials.are_sent)

    async def _get(self, client: HttpClient, url: URL) -> _Page:
        async def one_try() -> _Page:
            await self._rate.turn()
            address, headers = self._credentials.applied(url, self._http.headers)
            async with client.stream("GET", str(address), self._call(headers)) as response:
                body = await self._receive(response)
                link = URL(str(response.links["next"]["url"])) if "next" in response.links else None
            return _Page(url, body, link)

        page = await self._repeated(one_try)
        if self._json and self._paths.needed:
            page.document = await asyncio.to_thread(_document, page.body)
        found = self._paths.read(page.document)
        self._total = found.total if found.total is not None else self._total
        return page

    async def _repeated(self, call: Callable[[], Awaitable[T]]) -> T:
        # A page is asked for often and by one reader only: the client's budget of 10 % extra calls is not for this.
        try:
            return await retry_with_backoff(call, self._policy, is_retryable=_passing)
        except UpstreamError as error:
            if _passing(error):
                raise UnavailableError(error.message) from error
            raise

    async def _receive(self, response: aiohttp.ClientResponse) -> BinaryIO:
        limit = self._http.max_response_bytes
        body = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed by the reader of the page
        try:
            size = 0
            async for chunk in response.content.iter_chunked(262_144):
                size += len(chunk)
                _require_size(size, limit)
                body.write(chunk)
        except BaseException:
            body.close()
            raise
        body.seek(0)
        return cast("BinaryIO", body)

    async def _detail(self, client: HttpClient, parsed: Parsed) -> Parsed:
        if parsed.payload is None or self._http.detail_url is None:
            return parsed
        try:
            address, headers = self._credentials.applied(self._detail_url(parsed.payload), self._http.headers)

            async def one_try() -> bytes:
                await self._rate.turn()
                return (await client.request("GET", str(address), self._call(headers))).body

            detail = parse_object(await self._repeated(one_try))
        except (UnreadableError, NotFoundError, InvalidInputError) as error:
            return Parsed(
                None,
                parsed.line,
                parsed.position,
                problem=f"the record's detail: {error}",
                raw=parsed.payload,
            )
        return Parsed(detail, parsed.line, parsed.position)

    def _detail_url(self, payload: dict[str, Any]) -> URL:
        def fill(match: re.Match[str]) -> str:
            value = payload.get(match[1])
            if not isinstance(value, str | int) or value == "":
                raise UnreadableError(
                    f"the record has no {match[1]!r} to fill spec.source.http.detailUrl with"
                )
            return quote(str(value), safe="")

        return URL(_PLACE.sub(fill, str(self._http.detail_url)), encoded=True)


def _passing(error: BaseException) -> bool:
    return is_retryable(error) or (
        isinstance(error, UpstreamError) and error.details.get("status") in RETRY_STATUSES
    )


def _require_size(size: int, limit: int) -> None:
    if size > limit:
        raise InvalidInputError(f"spec.source.http.maxResponseBytes: the answer is longer than {limit} bytes")


@asynccontextmanager
async def _closing(body: BinaryIO) -> AsyncIterator[None]:
    try:
        yield
    finally:
        body.close()


def _document(body: BinaryIO) -> Any:
    """The page as a document, or None: what is wrong with it, the format reader will say."""
    data = body.read(PAGE_BYTES + 1)
    body.seek(0)
    try:
        return parse_value(data) if len(data) <= PAGE_BYTES else None
    except UnreadableError:
        return None


class _Rate:
    """At most so many requests a second, evenly spaced."""

    def __init__(self, per_second: float | None) -> None:
        self._interval_s = 1 / per_second if per_second else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._interval_s
        if at > now:
            await asyncio.sleep(at - now)


class _Repeats:
    """Notices a page of numbered pages that is the one before: the server ignores the number, and there is no end."""

    def __init__(self, paging: Pagination) -> None:
        self._parameter = paging.parameter if paging.type == "Page" else None
        self._before: bytes | None = None
        self._now = blake2b()
        self._any = False

    def see(self, parsed: Parsed) -> None:
        if self._parameter is not None and parsed.payload is not None:
            self._any = True
            self._now.update(repr(parsed.payload).encode("utf-8", "surrogatepass"))

    def end_page(self, number: int, *, whole: bool) -> None:
        found = self._now.digest() if self._any and whole else None
        if found is not None and found == self._before:
            raise UpstreamError(
                f"page {number} is the same as the one before; the source seems to ignore "
                f"spec.source.http.pagination.parameter {self._parameter!r}"
            )
        self._before, self._now, self._any = found, blake2b(), False


@dataclass(slots=True)
class _Found:
    cursor: str | None = None
    last: int | None = None
    total: int | None = None


class _Paths:
    """The places of a page that speak of the other pages."""

    def __init__(self, paging: Pagination) -> None:
        self._cursor = self._compiled("cursorPath", paging.cursor_path)
        self._last = self._compiled("lastPagePath", paging.last_page_path)
        self._total = self._compiled("totalPath", paging.total_path)
        self.needed = any((self._cursor, self._last, self._total))

    def read(self, document: Any) -> _Found:
        if document is None:
            return _Found()
        cursor = self._search(self._cursor, document)
        return _Found(
            cursor=str(cursor) if isinstance(cursor, str | int) and cursor not in {"", False} else None,
            last=self._whole(self._search(self._last, document)),
            total=self._whole(self._search(self._total, document)),
        )

    @staticmethod
    def _compiled(name: str, path: str | None) -> Any:
        try:
            return jmespath.compile(path) if path is not None else None
        except JMESPathError as error:
            raise InvalidInputError(f"spec.source.http.pagination.{name}: {error}") from error

    @staticmethod
    def _search(path: Any, document: Any) -> Any:
        try:
            return path.search(document) if path is not None else None
        except JMESPathError as error:
            raise UpstreamError(f"a page does not have the shape that pagination expects: {error}") from error

    @staticmethod
    def _whole(value: Any) -> int | None:
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
