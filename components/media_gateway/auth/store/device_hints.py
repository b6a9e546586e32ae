"""Hints to waiting devices on Redis's publish/subscribe, one channel a device code's digest.

Whoever keeps connections to devices subscribes and passes them on; with nobody there, a hint is lost, as it may be.
"""

import structlog

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.errors import MediaGatewayError

CHANNEL = "auth:device:decided:"
"""Followed by the SHA-256 of the device code in hex, which the device can work out itself."""

_log = structlog.get_logger(__name__)


class RedisHints:
    """`DeviceHints` by PUBLISH."""

    def __init__(self, redis: RedisHandle) -> None:
        self._redis = redis

    async def decided(self, device_hash: str) -> None:
        """Tell the channel; a failure is logged and nothing else, since the next poll finds the decision."""
        try:
            with translated():
                await self._redis.client.publish(CHANNEL + device_hash, b'{"event":"decided"}')
        except MediaGatewayError as error:
            _log.warning("a waiting device could not be told", problem=error.message)
