"""What is in demand now, for the service: read from the catalogue at most once in a few seconds for each question.

Trends move by the day and many callers ask the same few questions, so an answer some seconds old is as good; callers
who ask while one is being read wait for that one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from media_gateway.discovery.documents import Trend

FRESH_S = 5.0
"""How long an answer is given again, in seconds: the longest a change of the catalogue stays unseen here."""

LIMIT_STEPS = (20, 100)
"""How many trends are read, by how many are asked for: few lengths make more callers share an answer."""

KEPT_ANSWERS = 256
"""Most answers kept; regions times kinds of content can be more."""


class TrendReader(Protocol):
    """Where trends come from; `store.CatalogueReader` is one."""

    async def trending(self, *, limit: int, region: str | None, content_type: str | None) -> list[Trend]:
        """The most popular contents, best first."""


@dataclass(frozen=True, slots=True)
class _Question:
    limit: int
    region: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    reading: asyncio.Task[list[Trend]]
    asked_at_s: float


class TrendBoard:
    """Trends by region and kind of content.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(
        self, reader: TrendReader, *, fresh_s: float = FRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._fresh_s = fresh_s
        self._clock = clock
        self._answers: dict[_Question, _Answer] = {}

    async def trending(self, *, limit: int, region: str | None, content_type: str | None) -> list[Trend]:
        """The ``limit`` (at most 100) most popular contents, best first, as they were at most ``fresh_s`` ago.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The catalogue can't be read now; the next call tries again.
        """
        step = next((step for step in LIMIT_STEPS if limit <= step), limit)
        question = _Question(step, region, content_type)
        # Shielded: one caller who goes away takes nothing from those who wait for the same answer.
        trends = await asyncio.shield(self._reading(question))
        return trends[:limit]

    def _reading(self, question: _Question) -> Awaitable[list[Trend]]:
        now_s = self._clock()
        answer = self._answers.get(question)
        if answer is not None and now_s - answer.asked_at_s < self._fresh_s and not _failed(answer.reading):
            return answer.reading
        reading = asyncio.create_task(
            self._reader.trending(
                limit=question.limit, region=question.region, content_type=question.content_type
            )
        )
        reading.add_done_callback(_failed)
        # Put at the end, so that the first is the one asked for longest ago.
        self._answers.pop(question, None)
        self._answers[question] = _Answer(reading, now_s)
        if len(self._answers) > KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return reading


def _failed(reading: asyncio.Task[list[Trend]]) -> bool:
    """Whether it ended without an answer; also tells the event loop that its error was looked at."""
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
