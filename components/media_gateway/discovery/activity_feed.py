"""Counts what people do with contents, from the events on the bus: one member of the group that all replicas are.

Spawned by the app as two supervised tasks. The bus gives an event to one member, and again if that member does not say in
time that it is done; the store counts it once, since the count and the record that it is counted are one transaction.
While the bus or the database is away nothing is lost: the group's place on the bus stays where it is.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import ConflictError, InvalidInputError, MediaGatewayError
from media_gateway.core.ports.events import EventBus, Subscription
from media_gateway.discovery.activity import AHEAD, Interaction, Passed, read
from media_gateway.discovery.pauses import RETRY_S, leave_if_cancelled, pause
from media_gateway.discovery.store.activity import ActivityStore, Folded

T = TypeVar("T")

GROUP = "discovery-activity"
"""Consumer group of all replicas."""

TOPICS: Final = (Topic.ACTIVITY, Topic.PLAYBACK, Topic.CONTENT)
"""Of contents only merges matter."""

EVENTS_AT_ONCE = 500
"""Events of one transaction."""

WAIT_MS = 500
"""Longest the bus is waited for at once, in milliseconds, and so about the longest that stopping takes."""

GATHER_S = 0.25
"""Pause after a batch that was not full, in seconds, so that the next one is larger: trends need not be younger."""

TIDY_EVERY_S = 900.0
"""Pause between two rounds of retention and of looking for merges that no event told of, in seconds."""

_log = structlog.get_logger(__name__)
_events = Counter(
    "mgw_activity_events_total",
    "Events about what people do with contents, by what became of them",
    ["outcome"],
)
_ahead = Counter("mgw_activity_ahead_total", "Events dated in the future, counted as of now")
_moved = Counter("mgw_activity_moved_total", "Counts moved to the content that took theirs in")
_lag = Histogram(
    "mgw_activity_lag_seconds",
    "From something being done to its being counted",
    buckets=(0.5, 1, 2, 5, 15, 60, 600, 3_600, 86_400),
)


class ActivityFeed:
    """The consumer.

    Parameters
    ----------
    max_age
        Events from longer ago are not counted. No longer than the ids of consumed events are kept: what is older can't be
        told from a repetition.
    """

    def __init__(self, store: ActivityStore, bus: EventBus, *, max_age: timedelta) -> None:
        self._store = store
        self._bus = bus
        self._max_age = max_age
        self._problem: str | None = None

    async def health(self) -> str | None:
        """None if activity is counted, else why not."""
        if self._problem is None:
            return None
        return f"what people do can't be counted ({self._problem}); it will be once that is over"

    async def follow(self) -> None:
        """Count what comes, until cancelled."""
        while True:
            try:
                async with self._bus.subscribe(TOPICS, group=GROUP, consumer="discovery") as subscription:
                    await self._count_events(subscription)
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                await self._pause(error, len(RETRY_S))

    async def keep_tidy(self) -> None:
        """Forget what has faded and mend what events missed, now and then, until cancelled."""
        while True:
            try:
                await self.tidy()
            except MediaGatewayError as error:
                _log.warning("activity could not be tidied", problem=error.message)
            await asyncio.sleep(TIDY_EVERY_S)

    async def tidy(self) -> None:
        """Do so once."""
        _moved.inc(await self._store.move_merged())
        await self._store.purge(datetime.now(UTC), votes_kept=self._max_age)

    async def _count_events(self, subscription: Subscription) -> None:
        failures = 0
        while True:
            leave_if_cancelled()
            try:
                deliveries = await subscription.fetch(max_events=EVENTS_AT_ONCE, wait_ms=WAIT_MS)
                failures = 0
                self._note(None)
                await self._take([delivery.event for delivery in deliveries])
                await subscription.ack(deliveries)
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                await self._pause(error, failures)
                failures += 1
                continue
            if len(deliveries) < EVENTS_AT_ONCE:
                await asyncio.sleep(GATHER_S)

    async def _take(self, events: Sequence[Event]) -> None:
        interactions = self._interactions(events)
        if interactions:
            await self._until_done(lambda: self._fold(interactions))
        merged = [content_id for event in events for content_id in _merged_ids(event)]
        if merged:
            _moved.inc(await self._until_done(lambda: self._store.move_merged(merged)))

    def _interactions(self, events: Sequence[Event]) -> list[Interaction]:
        now = datetime.now(UTC)
        outcomes = Tally[Passed]()
        found = []
        for event in events:
            what = read(event, now=now, max_age=self._max_age)
            if isinstance(what, Passed):
                outcomes[what] += event.topic is not Topic.CONTENT
                if what is Passed.BROKEN:
                    _log.warning("broken event passed over", type=event.type, event_id=str(event.event_id))
                continue
            if what.ahead > AHEAD:
                _ahead.inc()
                ahead_s = round(what.ahead.total_seconds())
                _log.warning("event from the future", event_id=str(event.event_id), ahead_s=ahead_s)
            found.append(what)
        for outcome, number in outcomes.items():
            _events.labels(outcome).inc(number)
        return found

    async def _fold(self, interactions: Sequence[Interaction]) -> None:
        """Count interactions; those the database refuses for what they are, alone, are passed over."""
        try:
            folded = await self._store.fold(interactions)
        except (InvalidInputError, ConflictError) as error:
            if len(interactions) == 1:
                _events.labels("refused").inc()
                event_id = str(interactions[0].event_id)
                _log.error("event refused by the database", event_id=event_id, problem=error.message)
                return
            middle = len(interactions) // 2
            # What is done of it stays done when the rest has to be repeated.
            await self._fold(interactions[:middle])
            await self._fold(interactions[middle:])
        else:
            _observe(folded, interactions)

    async def _until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        # The bus does not give to this member again what it has given, so the batch is tried until it is done.
        attempt = 0
        while True:
            try:
                done = await work()
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                await self._pause(error, attempt)
                attempt += 1
                leave_if_cancelled()
            else:
                self._note(None)
                return done

    async def _pause(self, error: MediaGatewayError, attempt: int) -> None:
        self._note(error.message)
        await pause(attempt)

    def _note(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            if problem:
                _log.warning("activity can't be counted", problem=problem)
            else:
                _log.info("activity is counted again")


def _merged_ids(event: Event) -> list[UUID]:
    """The content that was merged away, of an event that tells of that."""
    found = []
    if event.topic is Topic.CONTENT and event.type == "content.merged":
        with suppress(ValueError):
            found.append(UUID(str(event.data.get("merged_id"))))
    return found


def _observe(folded: Folded, interactions: Sequence[Interaction]) -> None:
    for outcome in ("counted", "repeated", "capped", "unknown", "erased"):
        _events.labels(outcome).inc(getattr(folded, outcome))
    now = datetime.now(UTC)
    for one in interactions:
        _lag.observe(max(0.0, (now - one.at).total_seconds()))
