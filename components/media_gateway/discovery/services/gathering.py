"""Asking the legs of a search side by side, each with its own deadline. Used by the search service."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from media_gateway.core.errors import DeadlineExceededError, MediaGatewayError, UnavailableError
from media_gateway.discovery.filters import SearchFilter
from media_gateway.discovery.fusion import TITLE_LIKENESS
from media_gateway.discovery.legs import Candidate, Leg, LegAnswer, TextAnswer
from media_gateway.discovery.ranking import Variant
from media_gateway.discovery.text_index import QueryText

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_leg_seconds = Histogram(
    "mgw_search_leg_duration_seconds", "Time of a leg that answered", ["leg"], buckets=BUCKETS
)
_missing = Counter("mgw_search_leg_missing_total", "Legs that failed or were late", ["leg", "code"])
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Found:
    """What the legs have found, by their names.

    Attributes
    ----------
    timings_ms : dict[str, float]
        Time of each leg that answered, in milliseconds.
    missing : list[str]
        Legs that failed or were late.
    """

    answers: dict[str, LegAnswer] = field(default_factory=dict)
    timings_ms: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def take(self, leg: str, task: asyncio.Task[LegAnswer], elapsed_ms: float) -> None:
        """Keep what a leg has answered; an error that is none of ours is raised."""
        try:
            self.answers[leg] = task.result()
        except MediaGatewayError as error:
            self.miss(leg, error)
        else:
            self.timings_ms[leg] = round(elapsed_ms, 3)
            _leg_seconds.labels(leg).observe(elapsed_ms / 1000)

    def miss(self, leg: str, error: MediaGatewayError) -> None:
        """Note that a leg gave nothing."""
        self.missing.append(leg)
        _missing.labels(leg, error.code).inc()
        _log.info("a leg did not answer", leg=leg, problem=error.message)

    @property
    def text(self) -> TextAnswer:
        """What the text leg has answered; nothing if it did not."""
        answer = self.answers.get("text")
        return answer if isinstance(answer, TextAnswer) else TextAnswer((), 0, strict=True)

    @property
    def titles(self) -> Sequence[Candidate]:
        """What the title leg has answered; nothing if it did not."""
        return self.answers["title"].candidates if "title" in self.answers else ()

    def candidates(self, query: QueryText, variant: Variant) -> dict[str, Sequence[Candidate]]:
        """What there is to be fused."""
        text = self.text
        if text.total > len(text.candidates) and text.candidates[-1].certain is not None:
            # There are more certain matches than these; whatever is not certain would come after all of them.
            return {"text": text.candidates}
        found: dict[str, Sequence[Candidate]] = {
            name: answer.candidates for name, answer in self.answers.items()
        }
        if "vector" in found:
            found["vector"] = [one for one in found["vector"] if one.score >= variant.min_similarity]
            if "text" in found and not text.total and _best(found["vector"]) < variant.min_similarity_alone:
                found["vector"] = []
        if query.kind is not None and "title" in found:
            # Titles that are only somewhat like "80s horror" are no answer to it.
            found["title"] = [one for one in found["title"] if one.score >= TITLE_LIKENESS]
        return found


def _best(candidates: Sequence[Candidate]) -> float:
    return max((one.score for one in candidates), default=0.0)


async def ask_legs(
    legs: Sequence[Leg], query: QueryText, where: SearchFilter, limits_ms: dict[str, int]
) -> Found:
    """Ask all legs; one that is late is left out once another has answered.

    Until one has, all are waited for: a late answer is better than none, and the request has a deadline of its own.

    Raises
    ------
    UnavailableError
        No leg answered.
    """
    found, started = Found(), time.perf_counter()
    asked = {asyncio.create_task(leg.find(query, where)): leg.name for leg in legs}
    pending = set(asked)
    try:
        while pending:
            left_s = min(limits_ms[asked[task]] for task in pending) / 1000 - time.perf_counter() + started
            timeout_s = max(0.0, left_s) if found.answers else None
            done, pending = await asyncio.wait(
                pending, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            elapsed_ms = (time.perf_counter() - started) * 1000
            for task in done:
                found.take(asked[task], task, elapsed_ms)
            late = {task for task in pending if found.answers and elapsed_ms >= limits_ms[asked[task]]}
            for task in late:
                found.miss(asked[task], DeadlineExceededError(f"took over {limits_ms[asked[task]]} ms"))
            _let_go(late)
            pending -= late
    finally:
        _let_go(pending)
    if not found.answers:
        raise UnavailableError(f"nothing can be searched now: {', '.join(sorted(found.missing))} failed")
    return found


_ending: Final[set[asyncio.Task[LegAnswer]]] = set()
"""Legs that nobody waits for any more; held, since the event loop keeps no hold of its tasks."""


def _let_go(tasks: Collection[asyncio.Task[LegAnswer]]) -> None:
    """End legs without waiting for it: a driver may take seconds to turn from a server that hangs."""
    for task in tasks:
        _ending.add(task)
        task.add_done_callback(_ended)
        task.cancel()


def _ended(task: asyncio.Task[LegAnswer]) -> None:
    _ending.discard(task)
    if not task.cancelled():
        # Looked at, as nobody else does.
        task.exception()
