"""Erases people whose accounts were deleted, as the events of the family ``user`` tell: one member of all replicas' group.

An event counts as done once everything is deleted. While the database is away it is tried again; a process that ends
meanwhile leaves it to another member. Repeating an erasure changes nothing, so no record of the event is kept.
"""

import asyncio
from datetime import timedelta

import structlog

from media_gateway.core.domain.events import Event, Topic
from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.ports.events import EventBus, Subscription
from media_gateway.discovery.pauses import RETRY_S, leave_if_cancelled, pause
from media_gateway.discovery.store.analytics import AnalyticsStore
from media_gateway.discovery.store.erasure import ErasureStore

GROUP = "discovery-erasure"
"""Consumer group of all replicas."""

DELETED = "user.deleted"

WAIT_MS = 500
"""Longest the bus is waited for at once, in milliseconds, and so about the longest that stopping takes."""

TIDY_EVERY_S = 3_600.0
"""Pause between two rounds of forgetting whom was erased, in seconds."""

_log = structlog.get_logger(__name__)


class ErasureFeed:
    """The consumer.

    Parameters
    ----------
    analytics
        Texts of queries that are no longer popular without the person go, too.
    remembered
        How long it is known that somebody was erased. No shorter than events are taken late.
    """

    def __init__(
        self, store: ErasureStore, analytics: AnalyticsStore, bus: EventBus, *, remembered: timedelta
    ) -> None:
        self._store = store
        self._analytics = analytics
        self._bus = bus
        self._remembered = remembered
        self._problem: str | None = None

    async def health(self) -> str | None:
        """None if people are erased, else why not."""
        if self._problem is None:
            return None
        return f"deleted accounts can't be erased ({self._problem}); they will be once that is over"

    async def follow(self) -> None:
        """Erase whom events name, until cancelled."""
        while True:
            try:
                async with self._bus.subscribe(
                    (Topic.USER,), group=GROUP, consumer="discovery"
                ) as subscription:
                    await self._take(subscription)
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                await self._pause(error, len(RETRY_S))

    async def keep_tidy(self) -> None:
        """Forget whom was erased long ago, now and then, until cancelled."""
        while True:
            try:
                await self._store.forget(self._remembered)
            except MediaGatewayError as error:
                _log.warning("notes of erasures could not be tidied", problem=error.message)
            await asyncio.sleep(TIDY_EVERY_S)

    async def _take(self, subscription: Subscription) -> None:
        while True:
            leave_if_cancelled()
            deliveries = await subscription.fetch(max_events=10, wait_ms=WAIT_MS)
            self._problem = None
            for delivery in deliveries:
                await self._erase(delivery.event)
            await subscription.ack(deliveries)

    async def _erase(self, event: Event) -> None:
        if event.type != DELETED:
            return
        # The bus does not give to this member again what it has given, so it is tried until it is done.
        attempt, done = 0, False
        while not done:
            try:
                await self._store.erase(event.key)
                await self._analytics.purge_texts()
                done = True
            except MediaGatewayError as error:
                if not error.retryable:
                    raise
                await self._pause(error, attempt)
                attempt += 1
                leave_if_cancelled()
        self._problem = None
        _log.info("a deleted account was erased", event_id=str(event.event_id))

    async def _pause(self, error: MediaGatewayError, attempt: int) -> None:
        if error.message != self._problem:
            _log.warning("deleted accounts can't be erased", problem=error.message)
        self._problem = error.message
        await pause(attempt)
