"""Calls to other HTTP services: one client per upstream, with deadline, retries, circuit breaker and trace context.

Used by sources, the OpenAI-compatible embedder, the key-set fetch, and every component that calls another one.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from prometheus_client import Histogram
from yarl import URL

from media_gateway.core.breaker import CircuitBreaker
from media_gateway.core.deadline import HEADER as DEADLINE_HEADER, Deadline, current_deadline
from media_gateway.core.errors import (
    DeadlineExceededError,
    InvalidInputError,
    MediaGatewayError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from media_gateway.core.network import why_unreachable
from media_gateway.core.retry import RetryBudget, RetryPolicy, is_retryable, retry_with_backoff
from media_gateway.core.telemetry import outgoing_headers

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: only these are repeated unless a call says that it may be."""

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""

_seconds = Histogram(
    "mgw_upstream_request_duration_seconds",
    "Calls to other services, one observation a try",
    ["upstream", "outcome"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response with a status below 300."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """The body as JSON.

        Raises
        ------
        UpstreamError
            It is not JSON.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise UpstreamError(f"{URL(self.url).host} did not answer with JSON") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one client.

    Attributes
    ----------
    timeout_ms : int
        One try, connecting and the whole body included, in milliseconds.
    body_bytes : int
        Largest body that is read; a longer one is an `UpstreamError`.
    connections : int
        Most open connections.
    """

    timeout_ms: int = 10_000
    body_bytes: int = 64 * 1024 * 1024
    connections: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Optional parts of a request.

    Attributes
    ----------
    params, headers : Mapping
        Query and header fields.
    json : object
        Body, sent as JSON.
    data : bytes | None
        Body as it is, instead of ``json``.
    repeatable : bool | None
        Whether the request may be sent again; by default decided by the method.
    follow_redirects : bool
        False where headers or query carry a secret: a redirect would hand it to whatever host it names.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    data: bytes | None = None
    repeatable: bool | None = None
    follow_redirects: bool = True


NOTHING = Call()


class HttpClient:
    """A client of one upstream.

    Parameters
    ----------
    upstream
        Name in metrics, messages and the circuit.
    base_url
        Address that paths are joined to. A path that is itself an address is used as it is.
    policy
        Retries; the budget (10 % extra calls) is kept per client.
    breaker
        Circuit of the upstream, if it has one.
    """

    def __init__(
        self,
        upstream: str,
        base_url: str,
        *,
        limits: Limits = Limits(),
        policy: RetryPolicy = RetryPolicy.DEFAULT,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.upstream = upstream
        self._base = base_url.rstrip("/")
        self._limits = limits
        self._policy = policy
        self._breaker = breaker
        self._budget = RetryBudget(upstream)
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, path: str, call: Call = NOTHING, *, deadline: Deadline | None = None
    ) -> Answer:
        """Send a request and read the whole answer.

        Parameters
        ----------
        deadline
            Limit over all tries; by default that of the request being handled.

        Raises
        ------
        UnavailableError, DeadlineExceededError, RateLimitedError, UpstreamError
            The upstream is away, too slow, refuses for now, or answers with a server error.
        InvalidInputError, UnauthenticatedError, PermissionDeniedError, NotFoundError
            The upstream's 4xx.
        """
        deadline = deadline or current_deadline()
        repeatable = call.repeatable if call.repeatable is not None else method in IDEMPOTENT

        async def one_try() -> Answer:
            async with self.stream(method, path, call, deadline=deadline) as response:
                body = await self._read(response)
                return Answer(response.status, response.headers, body, str(response.url))

        if not repeatable:
            return await one_try()
        return await retry_with_backoff(
            one_try, self._policy, deadline=deadline, budget=self._budget, is_retryable=_worth_repeating
        )

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, call: Call = NOTHING, *, deadline: Deadline | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request once and give the response, its body unread; errors as in `request`, without retries."""
        started = time.monotonic()
        outcome = "error"
        guard = self._breaker.attempt() if self._breaker else nullcontext()
        try:
            async with guard:
                try:
                    async with self._send(method, path, call, deadline) as response:
                        if response.status >= 300:
                            raise _error_of(self.upstream, response)
                        yield response
                except TimeoutError as error:
                    raise DeadlineExceededError(f"{self.upstream} took too long to answer") from error
                except aiohttp.ClientError as error:
                    # What is wrong with a connection is an OSError inside of aiohttp's own.
                    cause = getattr(error, "os_error", None) or error
                    raise UnavailableError(
                        f"{self.upstream} can't be reached: {why_unreachable(cause)}"
                    ) from error
            outcome = "ok"
        except MediaGatewayError as error:
            outcome = error.code
            raise
        finally:
            _seconds.labels(self.upstream, outcome).observe(time.monotonic() - started)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _send(
        self, method: str, path: str, call: Call, deadline: Deadline | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        own = Deadline.after(self._limits.timeout_ms)
        limit = own if deadline is None else deadline.sooner(self._limits.timeout_ms)
        if limit.expired:
            raise DeadlineExceededError(f"no time left to call {self.upstream}")
        headers = {**outgoing_headers(), DEADLINE_HEADER: limit.header, **call.headers}
        data = call.data
        if call.json is not None:
            data = orjson.dumps(call.json)
            headers.setdefault("Content-Type", "application/json")
        async with self._open_session().request(
            method,
            self._address(path),
            params=call.params,
            headers=headers,
            data=data,
            allow_redirects=call.follow_redirects,
            timeout=aiohttp.ClientTimeout(total=limit.remaining_ms() / 1000),
        ) as response:
            yield response

    def _address(self, path: str) -> str:
        if path.startswith(("http://", "https://")):
            return path
        return f"{self._base}/{path.lstrip('/')}" if path else self._base

    def _open_session(self) -> aiohttp.ClientSession:
        # Made at first use: a session belongs to a running loop, a client may be built before there is one.
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._limits.connections)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in response.content.iter_chunked(65_536):
            size += len(chunk)
            if size > self._limits.body_bytes:
                raise UpstreamError(
                    f"{self.upstream} answered with more than {self._limits.body_bytes} bytes"
                )
            chunks.append(chunk)
        return b"".join(chunks)


def _worth_repeating(error: BaseException) -> bool:
    return is_retryable(error) or (
        isinstance(error, UpstreamError) and error.details.get("status") in RETRY_STATUSES
    )


def _error_of(upstream: str, response: aiohttp.ClientResponse) -> MediaGatewayError:
    status = response.status
    message = f"{upstream} answered {status}"
    if status in {429, 503}:
        kind = RateLimitedError if status == 429 else UnavailableError
        return kind(message, retry_after_ms=_retry_after_ms(response.headers.get("Retry-After")))
    kinds: dict[int, type[MediaGatewayError]] = {
        401: UnauthenticatedError,
        403: PermissionDeniedError,
        404: NotFoundError,
        408: DeadlineExceededError,
        504: DeadlineExceededError,
    }
    fallback = InvalidInputError if 400 <= status < 500 else UpstreamError
    return kinds.get(status, fallback)(message, details={"status": status})


def _retry_after_ms(value: str | None) -> int | None:
    """RFC 9110 section 10.2.3: seconds or an HTTP date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return int(value) * 1000
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, int((moment - datetime.now(UTC)).total_seconds() * 1000))
