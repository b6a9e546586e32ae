"""The Redis stream of webhook deliveries: in by the intake, out by the worker, gone once written.

All keys carry one hash tag, so that a delivery is remembered and added in one step in a Redis Cluster too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.errors import MediaGatewayError

STREAM = "mgw:{webhooks}:incoming"
SEEN = "mgw:{webhooks}:seen:"
GROUP = "webhook-processors"

_ADD = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return -1 end
redis.call('XADD', KEYS[1], '*', 'platform', ARGV[3], 'id', ARGV[4], 'body', ARGV[5])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
return 1
"""


class Added(IntEnum):
    """What became of a delivery."""

    FULL = -1
    DUPLICATE = 0
    ACCEPTED = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery on its way.

    Attributes
    ----------
    entry : bytes
        Its id in the stream.
    platform : str
        Who sent it.
    id : UUID
        Ours; what is written under it is written once.
    body : bytes
        As it came.
    """

    entry: bytes
    platform: str
    id: UUID
    body: bytes


class DeliveryStream:
    """The stream.

    Parameters
    ----------
    redis
        Where it is.
    """

    def __init__(self, redis: RedisHandle) -> None:
        self._redis = redis
        self._has_group = False

    async def add(
        self, delivery_id: UUID, platform: str, body: bytes, *, fingerprint: str, limits: tuple[int, int]
    ) -> Added:
        """Store a delivery unless one with its fingerprint is remembered.

        Parameters
        ----------
        fingerprint
            What makes two deliveries the same.
        limits
            Most deliveries that may wait, and how long this one is remembered in seconds.
        """
        most, kept_s = limits
        keys = (STREAM, f"{SEEN}{platform}:{fingerprint}")
        with translated():
            answer = await self._redis.client.eval(
                _ADD, 2, *keys, most, kept_s, platform, str(delivery_id), body
            )
            return Added(int(answer))

    async def backlog(self) -> int:
        """Deliveries that wait or are being written."""
        with translated():
            return int(await self._redis.client.xlen(STREAM))

    async def take(self, blocking: Any, *, consumer: str, wait_ms: int, idle_ms: int) -> list[Delivery]:
        """Deliveries whose worker was silent for ``idle_ms``, else new ones, waiting for the first.

        ``blocking`` is a client of the caller's own: it is held up while waiting.
        """
        await self._ensure_group()
        with translated():
            claimed = await blocking.xautoclaim(STREAM, GROUP, consumer, idle_ms, "0-0", count=10)
            entries = [entry for entry in claimed[1] if entry[1]]
            if not entries:
                answer = await blocking.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=10, block=wait_ms)
                entries = [entry for _, found in answer or [] for entry in found]
        return [
            Delivery(entry, fields[b"platform"].decode(), UUID(fields[b"id"].decode()), fields[b"body"])
            for entry, fields in entries
        ]

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries out of the stream."""
        if not deliveries:
            return
        entries = [delivery.entry for delivery in deliveries]
        with translated():
            await self._redis.client.xack(STREAM, GROUP, *entries)
            await self._redis.client.xdel(STREAM, *entries)

    def forget_group(self) -> None:
        """Make the group anew at the next look: Redis came back empty."""
        self._has_group = False

    async def _ensure_group(self) -> None:
        if self._has_group:
            return
        try:
            with translated():
                await self._redis.client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except MediaGatewayError as error:
            if error.details.get("reply") != "BUSYGROUP":
                raise
        self._has_group = True
