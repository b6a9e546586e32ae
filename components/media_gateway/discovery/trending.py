"""What is in demand now, for the service: read from the database at most once in a few seconds for each question.

Trends move by the hour and many callers ask the same few questions, so an answer some seconds old is as good; callers
who ask while one is being read wait for that one.

Activity and the catalogue's own word are added up, so the one takes over from the other by and by: a content nobody has
touched stands where the catalogue has it, and what a few clicks add is little beside that. In an installation without
activity the order is the catalogue's.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from media_gateway.discovery.decay import Window, surge
from media_gateway.discovery.documents import IndexedContent, Trend
from media_gateway.discovery.store.trends import Active, Scope

FRESH_S = 5.0
"""How long an answer is given again, in seconds: the longest a change of the catalogue stays unseen here."""

LIMIT_STEPS = (20, 100)
"""How many trends are read, by how many are asked for: few lengths make more callers share an answer."""

KEPT_ANSWERS = 256
"""Most answers of a kind that are kept; regions times kinds of content can be more."""

EQUAL_SURGE: Final = 10.0
"""Standard deviations above its usual activity that weigh as much as the highest standing in the catalogue. A choice: one
person's click on what nobody else has touched is a surge of one, and moves it by a tenth."""

EQUAL_COUNT: Final = 10.0
"""Decayed count that weighs as much as the highest popularity in the catalogue. A choice, for the same reason."""

HIGHEST_STANDING: Final = 1.0
"""What no content's standing in the catalogue is above."""

PART: Final = 250
"""Active contents looked up at once, a few milliseconds' work: two and a half times the longest list."""

Q = TypeVar("Q")
A = TypeVar("A")


class TrendReader(Protocol):
    """Where demand is read; `store.trends.TrendStore` is one."""

    async def most_active(self, window: Window, region: str | None) -> list[Active]:
        """The contents that most is done with in a region or in the world, the first first."""

    async def standings(self, content_ids: Sequence[UUID], scope: Scope) -> dict[UUID, float]:
        """Standing in the catalogue, 0 to 1, of those contents that are in the scope."""

    async def best(self, scope: Scope, *, limit: int) -> dict[UUID, float]:
        """The contents of the scope with the highest standing, best first, and their standing."""

    async def contents(self, content_ids: Sequence[UUID]) -> dict[UUID, IndexedContent]:
        """Those of the ids that are in the catalogue now."""


@dataclass(frozen=True, slots=True)
class Question:
    """What trends are asked for: at most ``limit``, which is at most 100."""

    window: Window
    scope: Scope
    limit: int


class TrendBoard:
    """Demand by window, region and kind of content.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(
        self, reader: TrendReader, *, fresh_s: float = FRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._trends = _Kept[Question, list[Trend]](self._read, fresh_s, clock)
        self._counts = _Kept[tuple[Window, str | None], dict[UUID, float]](self._read_counts, fresh_s, clock)

    async def trending(self, question: Question) -> list[Trend]:
        """What is in demand, best first, as it was at most ``fresh_s`` ago.

        The score is the catalogue's standing, 0 to 1, and a tenth (`EQUAL_SURGE`) of how far activity in the window is above
        what is usual for the content (`decay.surge`). Of equals the one with the lower id comes first.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            The database can't be reached now; the next call tries again.
        """
        step = next((step for step in LIMIT_STEPS if question.limit <= step), question.limit)
        trends = await self._trends.answer(Question(question.window, question.scope, step))
        return trends[: question.limit]

    async def counts(self, window: Window, region: str | None) -> dict[UUID, float]:
        """Decayed counts of the contents that most is done with, the first first, as they were at most ``fresh_s`` ago.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            As `trending`.
        """
        return await self._counts.answer((window, region))

    async def _read_counts(self, question: tuple[Window, str | None]) -> dict[UUID, float]:
        return {one.content_id: one.counted for one in await self._reader.most_active(*question)}

    async def _read(self, question: Question) -> list[Trend]:
        active = await self._active(question)
        found = _first(active, question.limit)
        scores = active
        if len(found) < question.limit or active[found[-1]] < HIGHEST_STANDING:
            best = await self._reader.best(question.scope, limit=question.limit)
            scores = best | active
            found = _first(scores, question.limit)
        contents = await self._reader.contents(found)
        return [
            Trend(contents[one], round(scores[one], 4), active=one in active)
            for one in found
            if one in contents
        ]

    async def _active(self, question: Question) -> dict[UUID, float]:
        """Scores of active contents of the scope: of all that can be among the first.

        They are looked up by falling surge, a part at a time, until none of the rest can come before those found, however
        high it stands (the threshold algorithm of Fagin, Lotem and Naor, "Optimal aggregation algorithms for middleware",
        2003).
        """
        surges = {
            one.content_id: surge(one.counted, one.usual, question.window) / EQUAL_SURGE
            for one in await self._reader.most_active(question.window, question.scope.region)
        }
        waiting = _first(surges, len(surges))
        scores: dict[UUID, float] = {}
        while waiting:
            part, waiting = waiting[:PART], waiting[PART:]
            standings = await self._reader.standings(part, question.scope)
            scores |= {one: standing + surges[one] for one, standing in standings.items()}
            last = _first(scores, question.limit)[-1:]
            if len(scores) >= question.limit and scores[last[0]] >= HIGHEST_STANDING + surges[part[-1]]:
                break
        return scores


def _first(scores: Mapping[UUID, float], limit: int) -> list[UUID]:
    return sorted(scores, key=lambda content_id: (-scores[content_id], content_id))[:limit]


@dataclass(frozen=True, slots=True)
class _Answer(Generic[A]):
    reading: asyncio.Task[A]
    asked_at_s: float


class _Kept(Generic[Q, A]):
    """Answers that are read once for all who ask within a time."""

    def __init__(
        self, read: Callable[[Q], Coroutine[None, None, A]], fresh_s: float, clock: Callable[[], float]
    ) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._clock = clock
        self._answers: dict[Q, _Answer[A]] = {}

    async def answer(self, question: Q) -> A:
        # Shielded: one caller who goes away takes nothing from those who wait for the same answer.
        return await asyncio.shield(self._reading(question))

    def _reading(self, question: Q) -> asyncio.Task[A]:
        now_s = self._clock()
        answer = self._answers.get(question)
        if answer is not None and now_s - answer.asked_at_s < self._fresh_s and not _failed(answer.reading):
            return answer.reading
        reading = asyncio.create_task(self._read(question))
        reading.add_done_callback(_failed)
        # Put at the end, so that the first is the one asked for longest ago.
        self._answers.pop(question, None)
        self._answers[question] = _Answer(reading, now_s)
        if len(self._answers) > KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return reading


def _failed(reading: asyncio.Task[A]) -> bool:
    """Whether it ended without an answer; also tells the event loop that its error was looked at."""
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
