"""What an event says about the demand for a content. Pure; `activity_feed` reads every event of the bus with it."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self, TypeGuard
from uuid import UUID

from media_gateway.core.domain.events import Event

CLICKED = 1.0
LISTED = 2.0
PLAYED = 3.0
COMPLETED = 4.0
"""Weights of what people do, by how sure a sign of interest it is. A choice, in the order in which recommenders grade
implicit feedback (Oard and Kim, "Implicit feedback for recommender systems", 1998: examine, retain, use)."""

COMPLETED_SHARE = 0.9
"""Share of the running time from which on a work counts as watched to its end, as everywhere in the platform."""

WORLD = "001"
"""The region that all activity counts for (UN M49)."""

AHEAD: Final = timedelta(seconds=60)
"""How far clocks of two machines may be apart before an event from the future is remarked on."""

_REGION = re.compile(r"[A-Z]{2}")


class Passed(StrEnum):
    """Why an event counts for no content."""

    OTHER = "other"
    """It is of a type, or a content, that demand is not read from."""
    BROKEN = "broken"
    """It lacks what its type must have."""
    LATE = "late"
    """It is so old that a repetition could not be told from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Somebody showed interest in a content.

    Attributes
    ----------
    person : str
        Who, in clear: for memory only, never for a table.
    at : datetime
        When, and never in the future.
    weight : float
        How much it counts.
    region : str | None
        Where, if the event says.
    ahead : timedelta
        How far the event's own time lies in the future.
    """

    event_id: UUID
    content_id: UUID
    person: str
    at: datetime
    weight: float
    region: str | None = None
    ahead: timedelta = timedelta(0)

    @property
    def regions(self) -> tuple[str, ...]:
        """Where it counts."""
        return (WORLD,) if self.region is None else (WORLD, self.region)

    def with_content(self, content_id: UUID) -> Self:
        """The same with a content that took its own in."""
        return replace(self, content_id=content_id)


def _ended(data: Mapping[str, Any]) -> float | None:
    position, duration = data.get("position_seconds"), data.get("duration_seconds")
    if not _is_number(position) or not _is_number(duration):
        return None
    return COMPLETED if 0 < COMPLETED_SHARE * duration <= position else None


_WEIGHTS: Final[Mapping[str, Callable[[Mapping[str, Any]], float | None]]] = {
    "search.clicked": lambda _: CLICKED,
    "watchlist.added": lambda _: LISTED,
    "playback.session.created": lambda _: PLAYED,
    "playback.session.ended": _ended,
}
"""Weight by event type; None for an event that says nothing. What is not listed is passed over."""


def read(event: Event, *, now: datetime, max_age: timedelta) -> Interaction | Passed:
    """The interaction that an event tells of, or why there is none.

    Parameters
    ----------
    now
        An event from after it counts as of now.
    max_age
        An event from longer ago is late.
    """
    weigh = _WEIGHTS.get(event.type)
    weight = weigh(event.data) if weigh else None
    if weight is None:
        return Passed.OTHER
    content_id, region = _content_id(event), event.data.get("region")
    if content_id is None or event.occurred_at.tzinfo is None or not event.key:
        return Passed.BROKEN
    if region is not None and not (isinstance(region, str) and _REGION.fullmatch(region)):
        return Passed.BROKEN
    if now - event.occurred_at > max_age:
        return Passed.LATE
    return Interaction(
        event_id=event.event_id,
        content_id=content_id,
        person=_person(event),
        at=min(event.occurred_at, now),
        weight=weight,
        region=region,
        ahead=max(timedelta(0), event.occurred_at - now),
    )


def _content_id(event: Event) -> UUID | None:
    try:
        return UUID(event.data["content_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _person(event: Event) -> str:
    """A user's events are keyed by user. Others bring a pseudonym, or all of one key are one person."""
    if event.data.get("anonymous") is not True:
        return f"user:{event.key}"
    visitor = event.data.get("visitor")
    return f"visitor:{visitor if isinstance(visitor, str) and visitor else event.key}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
