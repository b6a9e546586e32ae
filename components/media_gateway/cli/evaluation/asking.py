"""Asks a running search and measures its answers. Called by the command and the tests; prints nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import UUID

import aiohttp
import orjson
from pydantic import BaseModel, ValidationError

from media_gateway.cli.evaluation import DEFAULT_DEPTH, DEFAULT_URL
from media_gateway.cli.evaluation.matching import Result, gains_of
from media_gateway.cli.evaluation.metrics import measures
from media_gateway.cli.evaluation.pairs import JudgedQuery, Pairs
from media_gateway.core.errors import InvalidInputError, UnavailableError
from media_gateway.core.network import why_unreachable

PATH = "/api/v1/search"

TIMEOUT_S = 30.0
"""Longest wait for one answer, in seconds: as long as a service lets a request take."""

TOP = 5
"""Results of an answer that are kept for readers of the JSON report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The search that is asked, and how.

    Attributes
    ----------
    variants : tuple
        Ranking variants, each asked every query; None stands for a request without ``variant``.
    concurrency : int
        Requests on the way at the same time. Above 1 latencies hold the waiting of requests for each other.
    explain : bool
        Ask for the time of each leg too.
    """

    url: str = DEFAULT_URL
    token: str | None = None
    variants: tuple[str | None, ...] = (None,)
    depth: int = DEFAULT_DEPTH
    concurrency: int = 1
    explain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one query got from one variant.

    Attributes
    ----------
    first_right : int | None
        Place of the first right answer, from 1.
    latency_ms : float
        From sending the request to having read the answer, in milliseconds.
    legs_ms : Mapping
        The same of each leg as the service measured it, where it told.
    cached : bool
        The service says that the answer came from its cache.
    """

    query: JudgedQuery
    variant: str | None
    measures: Mapping[str, float]
    first_right: int | None
    top: tuple[str, ...]
    latency_ms: float
    legs_ms: Mapping[str, float] = field(default_factory=dict)
    degraded: bool = False
    cached: bool = False


class _Card(BaseModel):
    id: UUID
    title: str
    release_year: int | None


class _Hit(BaseModel):
    content: _Card
    ranking_features: dict[str, float] | None = None


class _Explanation(BaseModel):
    timings_ms: dict[str, float | None] = {}


class _Answer(BaseModel):
    """What the harness needs of an answer; everything else in it is passed over."""

    results: list[_Hit]
    degraded: bool = False
    explanation: _Explanation | None = None

    def legs_ms(self) -> dict[str, float]:
        """Time of each leg that answered, where the service tells it."""
        timings_ms = self.explanation.timings_ms if self.explanation else {}
        return {leg: ms for leg, ms in timings_ms.items() if ms is not None}


@dataclass(frozen=True, slots=True)
class _Reply:
    answer: _Answer
    latency_ms: float
    cached: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A query and what one variant gave."""

    query: JudgedQuery
    variant: str | None
    reply: _Reply

    @property
    def results(self) -> Sequence[_Hit]:
        """The results, best first."""
        return self.reply.answer.results


async def measure(pairs: Pairs, target: Target, on_outcome: Callable[[Outcome], None]) -> None:
    """Ask every query of every variant; tells each outcome as it comes.

    Raises
    ------
    UnavailableError, InvalidInputError
        As `ask_all`.
    """
    await ask_all(pairs, target, lambda one: on_outcome(_outcome(one, target.depth)))


async def ask_all(pairs: Pairs, target: Target, on_answer: Callable[[Answered], None]) -> None:
    """Ask every query of every variant; tells each answer as it comes.

    A query goes to all variants one after another, and the first of them changes from query to query: so each variant
    meets the service equally warm.

    Raises
    ------
    UnavailableError
        The service can't be reached, took too long or failed.
    InvalidInputError
        It refused a query, the token or the variant, or is no search.
    """
    todo = iter(enumerate(pairs.queries))
    async with _connection(target) as session:

        async def work() -> None:
            for number, query in todo:
                for variant in _turned(target.variants, number):
                    request = _request(query, variant, target)
                    reply = await _post(session, target.url, request, f"{pairs.path}: line {query.line}")
                    on_answer(Answered(query, variant, reply))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(target.concurrency):
                    group.create_task(work())
        except ExceptionGroup as errors:
            # Several workers may have failed for one reason; the first says it.
            raise errors.exceptions[0] from None


def _turned(variants: Sequence[str | None], number: int) -> Iterator[str | None]:
    return (variants[(number + place) % len(variants)] for place in range(len(variants)))


@asynccontextmanager
async def _connection(target: Target) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Content-Type": "application/json"}
    if target.token is not None:
        headers["Authorization"] = f"Bearer {target.token}"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield session


async def _post(session: aiohttp.ClientSession, service: str, request: dict[str, Any], where: str) -> _Reply:
    url = service.rstrip("/") + PATH
    started = time.perf_counter()
    try:
        async with session.post(url, data=orjson.dumps(request)) as response:
            body = await response.read()
    except TimeoutError:
        raise UnavailableError(f"{where}: no answer from {url} within {TIMEOUT_S:.0f} s") from None
    except aiohttp.InvalidURL:
        raise InvalidInputError(f"--url: {service!r} is no address of a service") from None
    except aiohttp.ClientError as error:
        cause = getattr(error, "os_error", None) or error
        raise UnavailableError(
            f"nothing answers at {service}: {why_unreachable(cause)}; start it with `media-gateway up`, or name "
            "another service with --url"
        ) from error
    latency_ms = (time.perf_counter() - started) * 1000
    if response.status != 200:
        _explain_refusal(response.status, body, where, url)
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInputError(f"--url: what answers at {url} is no search of this system") from error
    return _Reply(answer, latency_ms, cached=response.headers.get("X-Cache", "").upper() in {"HIT", "STALE"})


def _request(query: JudgedQuery, variant: str | None, target: Target) -> dict[str, Any]:
    request: dict[str, Any] = {"query": query.text, "page": 1, "page_size": target.depth}
    if query.filters is not None:
        request["filters"] = query.filters
    if variant is not None:
        request["variant"] = variant
    if target.explain:
        request["explain"] = True
    return request


def _outcome(answered: Answered, depth: int) -> Outcome:
    reply, query = answered.reply, answered.query
    cards = [hit.content for hit in reply.answer.results[:depth]]
    gains = gains_of([Result(card.id, card.title, card.release_year) for card in cards], query.relevant)
    return Outcome(
        query=query,
        variant=answered.variant,
        measures=measures(gains, [one.grade for one in query.relevant], depth),
        first_right=next((place for place, gain in enumerate(gains, 1) if gain), None),
        top=tuple(f"{card.title} ({card.release_year or '?'})" for card in cards[:TOP]),
        latency_ms=reply.latency_ms,
        legs_ms=reply.answer.legs_ms(),
        degraded=reply.answer.degraded,
        cached=reply.cached,
    )


def _explain_refusal(status: int, body: bytes, where: str, url: str) -> NoReturn:
    """The error for an answer other than 200; a problem document (RFC 9457) tells its fields."""
    problem = _object(body)
    detail = str(problem.get("detail") or problem.get("title") or "no reason given")
    wrong = {str(one.get("field")): str(one.get("message")) for one in problem.get("errors") or ()}
    if status in {401, 403}:
        raise InvalidInputError(f"--token: {url} answered {status}: {detail}")
    if status in {404, 405}:
        raise InvalidInputError(f"--url: there is no search at {url}")
    if status == 429 or status >= 500:
        raise UnavailableError(f"{where}: {url} answered {status}: {detail}")
    for option in ("variant", "explain"):
        if option in wrong:
            raise InvalidInputError(f"--{option}: the service refuses it: {wrong[option]}")
    told = "; ".join(f"{name}: {message}" for name, message in wrong.items()) or detail
    raise InvalidInputError(f"{where}: the service refuses the query: {told}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
