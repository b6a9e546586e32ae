"""Passing a request on to a service and its answer back, without reading either. Called by the routes.

What is short is passed in one piece, which costs a third of the time; what is long, or of unknown length, as it comes.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from prometheus_client import Histogram
from yarl import URL

from media_gateway.core.adapters.redis import RedisHandle
from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.deadline import HEADER as DEADLINE_HEADER, Deadline, current_deadline
from media_gateway.core.errors import DeadlineExceededError, UnavailableError, UpstreamError
from media_gateway.core.limiting import Sources
from media_gateway.core.network import why_unreachable
from media_gateway.core.telemetry import DURATION_BUCKETS_S, outgoing_headers
from media_gateway.core.web.parsing import BROKEN_BODY, read_body, too_large
from media_gateway.core.web.problems import invalid
from media_gateway.gateway.api_keys import authorization_of
from media_gateway.gateway.headers import to_caller, to_service
from media_gateway.gateway.table import Upstream

SHORT_BYTES: Final = 256 * 1024
"""Bodies up to this length are passed in one piece."""

CONNECTIONS: Final = 100
"""Most connections to one service."""

SERVER_FAILURES: Final = frozenset({500, 502, 503, 504})
"""Answers that speak against a service."""

_seconds = Histogram(
    "mgw_gateway_upstream_duration_seconds",
    "Time until a service's answer began",
    ["upstream", "outcome"],
    buckets=DURATION_BUCKETS_S,
)


# Labels are checked and locked for at every look-up; there are few sets of them.
@lru_cache(maxsize=1_000)
def _timed(upstream: str, outcome: str) -> Histogram:
    return _seconds.labels(upstream, outcome)


@dataclass(frozen=True, slots=True)
class Patience:
    """What a service is allowed.

    Attributes
    ----------
    timeout_ms : int
        Until its answer begins, and between two pieces of it, in milliseconds.
    policy : BreakerPolicy
        When it is left alone for a while.
    """

    timeout_ms: int
    policy: BreakerPolicy


def _patience(timeout_ms: int, failures: int, error_rate: float, open_ms: int) -> Patience:
    return Patience(timeout_ms, BreakerPolicy(failures=failures, error_rate=error_rate, open_ms=open_ms))


PATIENCE: Final = {
    Upstream.DISCOVERY: _patience(5_000, 20, 0.5, 3_000),
    Upstream.SONA: _patience(3_000, 10, 0.4, 2_000),
    Upstream.SYNC: _patience(5_000, 15, 0.5, 3_000),
    Upstream.AUTH: _patience(3_000, 10, 0.5, 2_000),
    Upstream.INGESTION: _patience(3_000, 10, 0.5, 2_000),
    Upstream.PLAYBACK: _patience(5_000, 15, 0.4, 3_000),
}
"""Timeouts and circuits of the original system (its gateway's table of upstreams)."""


class _FailedAnswerError(UpstreamError):
    """Tells the circuit that an answer, which the caller gets as it is, was a failure."""

    def __init__(self, answer: web.StreamResponse) -> None:
        super().__init__("a service answered with a server error")
        self.answer = answer


class Forwarder:
    """Passes requests on to one service.

    Parameters
    ----------
    redis
        Where replicas share whether the service is left alone.
    sources
        Knows the proxies in front.
    """

    def __init__(
        self, upstream: Upstream, session: aiohttp.ClientSession, redis: RedisHandle, sources: Sources
    ) -> None:
        patience = PATIENCE[upstream]
        self._upstream = upstream
        self._session = session
        self._breaker = CircuitBreaker(f"gateway:{upstream.value}", patience.policy, redis)
        self._sources = sources
        self._timeout_ms = patience.timeout_ms
        timeout_s = patience.timeout_ms / 1000
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout_s, sock_read=timeout_s)

    async def forward(
        self, request: web.Request, method: str, url: URL, *, body_limit: int
    ) -> web.StreamResponse:
        """The answer of the service, begun or complete.

        Raises
        ------
        UnavailableError
            The service can't be reached, does not answer in its time, or is left alone because it kept failing.
        DeadlineExceededError
            The caller's own time was over first.
        UpstreamError
            What the service sent is no HTTP.
        PayloadTooLargeError, InvalidInputError
            The caller's body is over the limit, or ends early.
        """
        body = await _Body.of(request, body_limit)
        headers = to_service(request.headers.items(), own_headers(request, self._sources, self._timeout_ms))
        if body.length is not None:
            headers[hdrs.CONTENT_LENGTH] = str(body.length)
        try:
            async with self._breaker.attempt():
                return await self._ask(request, method, url, headers, body)
        except _FailedAnswerError as failed:
            return failed.answer

    async def _ask(
        self, request: web.Request, method: str, url: URL, headers: CIMultiDict[str], body: "_Body"
    ) -> web.StreamResponse:
        started, outcome = time.perf_counter(), "error"
        deadline = current_deadline()
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=body.content,
                allow_redirects=False,
                timeout=self._timeout,
            ) as answer:
                outcome = str(answer.status)
                _timed(self._upstream.value, outcome).observe(time.perf_counter() - started)
                return await self._passed_back(request, answer)
        except TimeoutError as error:
            if deadline is not None and deadline.expired:
                raise DeadlineExceededError(f"{self._upstream} took longer than allowed") from error
            raise self._away(f"did not answer within {self._timeout_ms / 1000:g} s") from error
        except aiohttp.ClientPayloadError as error:
            raise body.problem or self._away("broke off its answer") from error
        except aiohttp.ClientResponseError as error:
            raise UpstreamError(f"{self._upstream} answered with something that is no HTTP") from error
        except (aiohttp.ClientError, OSError) as error:
            if body.problem is not None:
                raise body.problem from error
            cause = getattr(error, "os_error", None) or error
            raise self._away(f"can't be reached: {why_unreachable(cause)}") from error
        finally:
            if outcome == "error":
                _timed(self._upstream.value, outcome).observe(time.perf_counter() - started)

    def _away(self, why: str) -> UnavailableError:
        return UnavailableError(f"{self._upstream} {why}", details={"upstream": self._upstream.value})

    async def _passed_back(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = to_caller(answer.headers.items())
        length = answer.content_length
        is_short = length is not None and length <= SHORT_BYTES
        response: web.StreamResponse
        if is_short or request.method == hdrs.METH_HEAD or answer.status in {204, 304}:
            response = web.Response(status=answer.status, reason=answer.reason, headers=headers)
            response.body = await answer.read() or None
        elif answer.status in SERVER_FAILURES:
            # Read to its end here, since the circuit must learn of it: such answers are a few hundred bytes.
            response = web.Response(status=answer.status, reason=answer.reason, headers=headers)
            response.body = await _first(answer, SHORT_BYTES)
        else:
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        if answer.status in SERVER_FAILURES:
            raise _FailedAnswerError(response)
        return response


def own_headers(request: web.Request, sources: Sources, timeout_ms: int | None = None) -> dict[str, str]:
    """What the gateway tells a service: trace, request id, who calls from where, and, with a timeout, how long it waits."""
    deadline = current_deadline()
    if timeout_ms is not None:
        deadline = deadline.sooner(timeout_ms) if deadline else Deadline.after(timeout_ms)
    return {
        **outgoing_headers(),
        **authorization_of(request),
        **({DEADLINE_HEADER: deadline.header} if deadline else {}),
        sources.header: sources.handed_on(request.remote, request.headers.getall(sources.header, [])),
        "X-Forwarded-Proto": request.scheme,
        "X-Forwarded-Host": request.host,
    }


async def _first(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for chunk in answer.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise UpstreamError("a service answered with an endless error")
    return b"".join(parts)


@dataclass(slots=True)
class _Body:
    """The body of a request on its way through.

    Attributes
    ----------
    length : int | None
        In bytes, if the caller said it.
    problem : Exception | None
        What is wrong with it, known once it has been passed on: the service is then not to blame.
    """

    content: bytes | AsyncIterator[bytes] | None
    length: int | None
    problem: Exception | None = None

    @classmethod
    async def of(cls, request: web.Request, limit_bytes: int) -> "_Body":
        """A short body read to its end, a long one to be read while it is sent."""
        if not request.can_read_body:
            return cls(None, request.content_length)
        length = request.content_length
        if length is not None and length <= SHORT_BYTES:
            return cls(await read_body(request, limit_bytes), length)
        body = cls(None, length)
        body.content = body._pieces(request, limit_bytes)
        return body

    async def _pieces(self, request: web.Request, limit_bytes: int) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit_bytes:
                    self.problem = too_large(limit_bytes)
                    raise self.problem
                yield chunk
        except BROKEN_BODY as error:
            self.problem = invalid("", "the body could not be read to its end")
            raise self.problem from error


def open_session(connections: int = CONNECTIONS) -> aiohttp.ClientSession:
    """A session that passes bodies on as they are."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=30),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=[hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE],
    )
