"""Answers of searches, kept as the bytes that were sent. The search service looks here before anything else.

A kept value is a header and the body. The header says since when the answer is kept and until when it is fresh; Redis's
own expiry ends it. Between the two the answer is given as it is, while one computation in all replicas renews it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct

import structlog
from prometheus_client import Counter, Histogram

from media_gateway.core.cache import CacheStore, Flights
from media_gateway.core.errors import MediaGatewayError
from media_gateway.discovery.cache.keys import CacheKey

FULL_TTL_S = 1_800.0
"""How long a whole answer is kept."""

DEGRADED_TTL_S = 60.0
"""How long an answer is kept that misses a part which may be back soon."""

FRESH_SHARE = 0.8
"""Part of its time for which an answer is fresh; in the rest it is given once more and renewed."""

JITTER = 0.05
"""Up to this part is taken off an answer's time, so that answers stored together do not expire together."""

RENEWAL_LEASE_S = 5.0
"""How long a replica alone may renew an answer. If it dies, renewal is late by this."""

REFUSED_PAUSE_S = 1.0
"""How long a replica that found another one renewing does not ask again."""

RENEWALS_AT_ONCE = 2
"""Computations for renewal in one process: people who wait for an answer come first."""

MOST_RENEWALS = 256
"""Renewals under way or waiting; what is more is renewed when it is next asked for."""

HEADER = Struct(">4sQQ")
"""Mark, kept since, fresh until; both in milliseconds since 1970."""

MARK = b"MGA1"

_log = structlog.get_logger(__name__)
_results = Counter("mgw_search_cache_total", "Searches by what the cache had for them", ["result"])
_lookups = Histogram(
    "mgw_search_cache_lookup_seconds",
    "Time of looking an answer up",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05),
)
_renewals = Counter(
    "mgw_search_cache_renewals_total",
    "Renewals of stale answers by outcome; elsewhere: another replica has the lease, or Redis could not be asked",
    ["outcome"],
)


class CacheState(StrEnum):
    """What the cache had: the value of ``X-Cache``."""

    HIT = "HIT"
    MISS = "MISS"
    STALE = "STALE"
    BYPASS = "BYPASS"


@dataclass(frozen=True, slots=True)
class Computed:
    """A new answer: its bytes, and for how many seconds it may be kept, at most. With 0 it is not kept."""

    body: bytes
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: the bytes to send, where they come from, and for how many seconds they have been kept."""

    body: bytes
    state: CacheState
    age_s: float


class AnswerCache:
    """Answers by key.

    Parameters
    ----------
    store
        Where answers are kept. Without it, or when it is slow, every search is computed.
    clock
        Seconds since 1970.
    """

    def __init__(self, store: CacheStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._flights: Flights[Computed] = Flights(self._keep, linger_s=store.longest_lookup_s)
        self._renewing: dict[CacheKey, asyncio.Task[None]] = {}
        self._may_renew = asyncio.Semaphore(RENEWALS_AT_ONCE)
        self._counts = {state: _results.labels(state.lower()) for state in CacheState}

    async def answer(self, key: CacheKey, compute: Callable[[], Awaitable[Computed]]) -> Answered:
        """The answer under a key, kept or new.

        Parameters
        ----------
        compute
            Makes the answer. It may be called after this has returned (to renew a stale answer), and what it gives or
            raises goes to all who ask for the key meanwhile. It has a deadline of its own, not its caller's.

        Returns
        -------
        Answered
            STALE is given at once and being renewed; BYPASS was computed because the cache could not be asked.

        Raises
        ------
        Exception
            What ``compute`` raised; nothing is kept then.
        """
        kept = await self._lookup(key)
        if isinstance(kept, CacheState):
            self._counts[kept].inc()
            computed = await self._flights.result(key, compute)
            return Answered(computed.body, kept, 0.0)
        self._counts[kept.state].inc()
        if kept.state is CacheState.STALE:
            self._renew_soon(key, compute)
        return kept

    async def close(self) -> None:
        """End computations that go on in the background; answers already computed are still stored."""
        renewals = list(self._renewing.values())
        for renewal in renewals:
            renewal.cancel()
        if renewals:
            await asyncio.wait(renewals)
        await self._flights.close()

    async def _lookup(self, key: CacheKey) -> Answered | CacheState:
        started_s = time.perf_counter()
        try:
            value = await self._store.get(key)
        except MediaGatewayError:
            return CacheState.BYPASS
        finally:
            _lookups.observe(time.perf_counter() - started_s)
        if value is None or len(value) < HEADER.size or not value.startswith(MARK):
            return CacheState.MISS
        _, since_ms, fresh_until_ms = HEADER.unpack_from(value)
        now_ms = self._clock() * 1000
        state = CacheState.HIT if now_ms < fresh_until_ms else CacheState.STALE
        return Answered(value[HEADER.size :], state, max(0.0, (now_ms - since_ms) / 1000))

    async def _keep(self, key: str, computed: Computed) -> bool:
        if computed.ttl_s <= 0:
            return False
        life_s = computed.ttl_s * (1 - JITTER * random.random())  # noqa: S311 - no secret
        now_ms = int(self._clock() * 1000)
        header = HEADER.pack(MARK, now_ms, now_ms + int(life_s * FRESH_SHARE * 1000))
        return await self._store.put(key, header + computed.body, life_s=life_s)

    def _renew_soon(self, key: CacheKey, compute: Callable[[], Awaitable[Computed]]) -> None:
        if key in self._renewing or len(self._renewing) >= MOST_RENEWALS:
            return
        renewal = asyncio.create_task(self._renew(key, compute), name="cache renewal")
        self._renewing[key] = renewal
        renewal.add_done_callback(lambda _: self._renewing.pop(key))

    async def _renew(self, key: CacheKey, compute: Callable[[], Awaitable[Computed]]) -> None:
        async with self._may_renew:
            # Never given back: the answer stays fresh for longer, and after a failure the pause is wanted.
            ours = await self._store.claim(f"{key}:renewal", life_s=RENEWAL_LEASE_S)
            if ours:
                _renewals.labels(await self._renewed(key, compute)).inc()
                return
        _renewals.labels("elsewhere").inc()
        await asyncio.sleep(REFUSED_PAUSE_S)

    async def _renewed(self, key: CacheKey, compute: Callable[[], Awaitable[Computed]]) -> str:
        try:
            computed = await self._flights.result(key, compute)
        except Exception as error:  # noqa: BLE001 - nobody waits for it: logged, counted, and tried again
            _log.warning("a stale answer could not be renewed", problem=str(error) or type(error).__name__)
            return "failed"
        return "kept" if computed.ttl_s > 0 else "not_kept"
