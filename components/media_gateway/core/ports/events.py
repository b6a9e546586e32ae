"""Port to the event bus. Backend adapters: `redis-stream:` and `kafka:`; one contract suite runs over both."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from media_gateway.core.domain.events import Event, Topic


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as a consumer gets it.

    Attributes
    ----------
    event : Event
        The event.
    position : str
        Opaque place in the bus, for ``ack``.
    cursor : str
        Opaque; given to ``tail`` it continues right after this event. Empty for a member of a group, which sees only
        some of the events.
    """

    event: Event
    position: str
    cursor: str


class Subscription(Protocol):
    """A running consumer."""

    async def fetch(self, *, max_events: int = 100, wait_ms: int = 1000) -> list[Delivery]:
        """Next events, waiting up to ``wait_ms`` for the first. Empty when none came.

        Bodies that are no envelope are logged, counted and passed over: one broken producer stops nobody.

        Raises
        ------
        UnavailableError
            The bus can't be reached; calling again continues where it stopped. It is said after a short pause (within
            ``wait_ms``), so that a loop may call again at once.
        """

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Mark events as done for the group. Without it they are delivered again after a restart."""


class EventBus(Protocol):
    """Topics with at-least-once delivery, in order per key."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Hand events over; returns once the bus has stored them all.

        Called by the outbox relay only: a request never waits for the bus.

        Raises
        ------
        UnavailableError
            Not (all) stored in time; publishing the same events again is safe.
        """

    def subscribe(
        self, topics: Sequence[Topic], *, group: str, consumer: str
    ) -> AbstractAsyncContextManager[Subscription]:
        """Consume as a member of a group: each event goes to one member; a new group starts at the earliest event."""

    def tail(
        self, topics: Sequence[Topic], *, cursor: str | None
    ) -> AbstractAsyncContextManager[Subscription]:
        """Consume everything by itself (for example to keep a replica's index), from a cursor or, if None, from now.

        A cursor older than what the bus keeps raises `ConflictError` from ``fetch``: rebuild from the database.
        """

    async def end_cursor(self, topics: Sequence[Topic]) -> str:
        """Cursor of "now": a later ``tail`` from it sees everything published after this call."""

    async def ping(self) -> None:
        """Return if the bus answers."""

    async def close(self) -> None:
        """Stop producers and consumers within 5 s, even if the bus is dead."""
