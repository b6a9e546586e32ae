"""The order of results for one person: what was found, weighed with what that person likes.

Called by the search service. Scores come from sona; without them results stay as they were.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

import structlog
from prometheus_client import Counter

from media_gateway.core.breaker import BreakerPolicy, CircuitBreaker
from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError, UpstreamError
from media_gateway.core.http_client import Call, HttpClient, Limits
from media_gateway.discovery.fusion import Fused

DEPTH: Final = 200
"""Results that are scored, best first (shared notes, discovery-sona.md section 2)."""

TIMEOUT_MS: Final = 50
"""Longest that scores are waited for, in milliseconds: the original system's limit."""

CERTAIN_TITLE: Final = 0.92
"""Relevance from which on a result is the title that was asked for, or its sequel; taste moves none of these."""

_log = structlog.get_logger(__name__)
_orders = Counter(
    "mgw_search_personalised_total", "Searches of known callers, by what became of their order", ["outcome"]
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who searches.

    Attributes
    ----------
    subject : str
        The user, as the token says.
    token : str
        The access token, with which sona is asked in the user's name.
    """

    subject: str
    token: str


class PersonalScores(Protocol):
    """Where scores come from."""

    async def score(self, asker: Asker, content_ids: Sequence[UUID]) -> Mapping[UUID, float]:
        """How much a person will like contents, on one scale; contents nothing is known of are left out.

        Raises
        ------
        MediaGatewayError
            There are no scores now.
        """

    async def close(self) -> None:
        """Close connections."""


class SonaScores:
    """Scores by sona's ``POST /api/v1/personalization/score``.

    It is sent ``{"content_ids": [...]}`` and the user's token, and answers
    ``{"scores": [{"content_id": ..., "score": 0 to 1}, ...]}``.
    """

    def __init__(self, url: str) -> None:
        breaker = CircuitBreaker("sona", BreakerPolicy(open_ms=5_000, slow_ms=TIMEOUT_MS // 2))
        self._http = HttpClient("sona", url, limits=Limits(timeout_ms=TIMEOUT_MS), breaker=breaker)

    async def score(self, asker: Asker, content_ids: Sequence[UUID]) -> Mapping[UUID, float]:
        """See `PersonalScores`."""
        call = Call(
            json={"content_ids": [str(one) for one in content_ids]},
            headers={"Authorization": f"Bearer {asker.token}"},
            follow_redirects=False,
        )
        answer = (await self._http.request("POST", "/api/v1/personalization/score", call)).json()
        try:
            scores = {UUID(one["content_id"]): float(one["score"]) for one in answer["scores"]}
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError("sona answered with something else than scores") from error
        return {one: score for one, score in scores.items() if score == score}  # noqa: PLR0124 - NaN is no score

    async def close(self) -> None:
        """See `PersonalScores`."""
        await self._http.close()


class PersonalOrder:
    """Puts results in the order of one person."""

    def __init__(self, scores: PersonalScores) -> None:
        self._scores = scores

    async def of(self, pool: Sequence[Fused], asker: Asker, weight: float) -> tuple[list[Fused], bool]:
        """The results in the person's order; and whether there were scores.

        Parameters
        ----------
        weight
            Share of the personal score, 0 to 1.
        """
        fixed = [one for one in pool if one.relevance >= CERTAIN_TITLE]
        head, tail = pool[len(fixed) : DEPTH], pool[max(len(fixed), DEPTH) :]
        if not head:
            return list(pool), True
        try:
            async with asyncio.timeout(TIMEOUT_MS / 1000):
                scores = await self._scores.score(asker, [one.content_id for one in head])
        except (MediaGatewayError, TimeoutError) as error:
            problem = (
                error if isinstance(error, MediaGatewayError) else DeadlineExceededError("sona was late")
            )
            _orders.labels(problem.code).inc()
            _log.info("results are not personal", problem=problem.message)
            return list(pool), False
        _orders.labels("ok").inc()
        return [*fixed, *blended(head, scores, weight), *tail], True


def blended(results: Sequence[Fused], scores: Mapping[UUID, float], weight: float) -> list[Fused]:
    """Results by ``(1 - weight) * relevance + weight * score``, each brought to 0 to 1 by its smallest and largest value.

    A content without a score gets the mean of the others: nothing is known for or against it. The relevance that is told
    keeps to the range it had, and never rises down the list.
    """
    known = [scores[one.content_id] for one in results if one.content_id in scores]
    if not known:
        return list(results)
    mean = sum(known) / len(known)
    liking = _scaled([scores.get(one.content_id, mean) for one in results])
    relevance = _scaled([one.relevance for one in results])
    low, high = results[-1].relevance, results[0].relevance
    shares = [(1 - weight) * fit + weight * like for fit, like in zip(relevance, liking, strict=True)]
    ordered = sorted(zip(shares, results, strict=True), key=lambda pair: -pair[0])
    return [
        replace(
            one,
            relevance=round(low + (high - low) * share, 4),
            scores={
                **one.scores,
                **({"personal": scores[one.content_id]} if one.content_id in scores else {}),
            },
        )
        for share, one in ordered
    ]


def _scaled(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]
