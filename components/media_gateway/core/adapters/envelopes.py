"""What both event buses share: bytes of a consumer's message to an `Event`, broken ones counted; pauses in an outage."""

import asyncio

import structlog
from prometheus_client import Counter

from media_gateway.core.domain.events import Event

FAILURE_PAUSE_S = 0.25
"""Longest a failing ``fetch`` waits before it says so: a reader that asks again at once must not burn a core."""

_log = structlog.get_logger(__name__)
_broken = Counter("mgw_bus_broken_total", "Messages passed over because they are no envelope", ["topic"])
LOST = Counter(
    "mgw_bus_lost_total", "Times a group found events gone before it had read them", ["topic", "group"]
)
"""Retention overtook a consumer group; the size of the gap is unknown."""


def read_envelope(body: bytes | None, *, topic: str, position: str) -> Event | None:
    """The event in a message; None, logged and counted, if it is no envelope of ours."""
    try:
        return Event.from_json(body or b"")
    except ValueError as error:
        _broken.labels(topic).inc()
        _log.warning("event passed over", topic=topic, position=position, reason=str(error)[:200])
        return None


async def pause(until: float) -> None:
    """Wait after a failure, until a time of the event loop's clock but for at most ``FAILURE_PAUSE_S``."""
    await asyncio.sleep(min(FAILURE_PAUSE_S, max(0.0, until - asyncio.get_running_loop().time())))
