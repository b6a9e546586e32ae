"""What can be computed again, kept in Redis for a while: used by discovery's caches and the gateway's.

Redis may be slow, full or gone; whoever asks goes on without it.
"""

from media_gateway.core.cache.flights import Flights
from media_gateway.core.cache.store import CacheStore

__all__ = ["CacheStore", "Flights"]
