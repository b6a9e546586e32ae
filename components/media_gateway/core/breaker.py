"""Circuit breaker: stop calling what keeps failing, and let a few probes find out when it is back.

Each process counts its own calls in a rolling window, which costs nothing on the good path. What matters to all is
shared in Redis: that a circuit is open, and who may probe. Without Redis the same rules run in the process alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge

from media_gateway.core.domain.ids import uuid7
from media_gateway.core.errors import (
    DeadlineExceededError,
    MediaGatewayError,
    UnavailableError,
    UpstreamError,
)

if TYPE_CHECKING:
    from media_gateway.core.adapters.redis import RedisHandle

REFRESH_MS = 250
"""How old the shared state may be when a call relies on it, in milliseconds."""

REDIS_BUDGET_S = 0.05
"""Longest a call waits for the shared state before it goes on with the local one, in seconds."""

PROBE_LEASE_MS = 30_000
"""A probe that never came back (its process died) frees its slot after this long, in milliseconds."""

_log = structlog.get_logger(__name__)
_state = Gauge("mgw_circuit_open", "1 while calls to the upstream are refused", ["upstream"])
_refused = Counter("mgw_circuit_refused_total", "Calls refused by an open circuit", ["upstream"])


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens and closes.

    Attributes
    ----------
    failures : int
        Failures in the window that open it,
    error_rate : float
        if they are also at least this share of the calls in the window.
    successes : int
        Good probes in a row that close it again.
    open_ms : int
        How long calls are refused before probing, in milliseconds.
    probes : int
        Calls let through at once while half-open.
    window_ms : int
        Length of the window, in milliseconds.
    slow_ms : int | None
        A call that is cancelled after so many milliseconds counts as a failure: its caller has given up waiting. None:
        a cancelled call says nothing about the upstream.
    """

    failures: int = 5
    error_rate: float = 0.5
    successes: int = 3
    open_ms: int = 30_000
    probes: int = 3
    window_ms: int = 60_000
    slow_ms: int | None = None

    PLATFORM_API: ClassVar["BreakerPolicy"]
    PUBNUB: ClassVar["BreakerPolicy"]
    EMBEDDING: ClassVar["BreakerPolicy"]


BreakerPolicy.PLATFORM_API = BreakerPolicy(failures=5, successes=3, open_ms=30_000, probes=3)
BreakerPolicy.PUBNUB = BreakerPolicy(failures=3, successes=2, open_ms=10_000, probes=2)
BreakerPolicy.EMBEDDING = BreakerPolicy(failures=5, successes=3, open_ms=60_000, probes=3)


class Verdict(StrEnum):
    """What a circuit says to a call that wants to pass."""

    CLOSED = "closed"
    PROBE = "probe"
    OPEN = "open"


class Outcome(StrEnum):
    """How a call ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class Circuit(Protocol):
    """Where the open state and the probes of one circuit are kept."""

    async def enter(self, probe: str) -> tuple[Verdict, int]:
        """Ask to pass; with OPEN, the milliseconds until asking again makes sense."""

    async def leave(self, probe: str, outcome: Outcome) -> None:
        """Give a probe's slot back with its outcome."""

    async def trip(self) -> None:
        """Open."""


class LocalCircuit:
    """State in this process."""

    def __init__(self, policy: BreakerPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._opened_at: float | None = None
        self._good = 0
        self._probes: set[str] = set()

    async def enter(self, probe: str) -> tuple[Verdict, int]:
        """See `Circuit`."""
        if self._opened_at is None:
            return Verdict.CLOSED, 0
        left_ms = int(self._policy.open_ms - (self._clock() - self._opened_at) * 1000)
        if left_ms > 0:
            return Verdict.OPEN, left_ms
        if len(self._probes) >= self._policy.probes:
            return Verdict.OPEN, REFRESH_MS
        self._probes.add(probe)
        return Verdict.PROBE, 0

    async def leave(self, probe: str, outcome: Outcome) -> None:
        """See `Circuit`."""
        self._probes.discard(probe)
        if outcome is Outcome.FAILURE:
            await self.trip()
        elif outcome is Outcome.SUCCESS:
            self._good += 1
            if self._good >= self._policy.successes:
                self._opened_at, self._good = None, 0
                self._probes.clear()

    async def trip(self) -> None:
        """See `Circuit`."""
        self._opened_at, self._good = self._clock(), 0
        self._probes.clear()


# KEYS: state hash, probe set. ARGV: open_ms, probes, lease_ms, probe id, successes, operation.
_SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open_ms, op = tonumber(ARGV[1]), ARGV[6]
local keep = open_ms + 3600000
if op == 'trip' or op == 'failure' then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'opened_at', now, 'good', 0)
  redis.call('PEXPIRE', KEYS[1], keep)
  return {'open', open_ms}
end
local opened = redis.call('HGET', KEYS[1], 'opened_at')
if op == 'enter' then
  if not opened then return {'closed', 0} end
  local left = open_ms - (now - opened)
  if left > 0 then return {'open', left} end
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return {'open', 250} end
  redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], keep)
  return {'probe', 0}
end
local mine = redis.call('ZREM', KEYS[2], ARGV[4])
if op == 'success' and mine == 1 and opened then
  if redis.call('HINCRBY', KEYS[1], 'good', 1) >= tonumber(ARGV[5]) then
    redis.call('DEL', KEYS[1], KEYS[2])
    return {'closed', 0}
  end
end
return {'open', 0}
"""


class RedisCircuit:
    """State shared by all processes; Redis's clock decides."""

    def __init__(self, name: str, policy: BreakerPolicy, redis: "RedisHandle") -> None:
        # The braces put both keys into one slot of a Redis Cluster.
        self._keys = (f"circuit:{{{name}}}", f"circuit:{{{name}}}:probes")
        self._policy = policy
        self._script = redis.client.register_script(_SCRIPT)

    async def enter(self, probe: str) -> tuple[Verdict, int]:
        """See `Circuit`."""
        verdict, left_ms = await self._run(probe, "enter")
        return Verdict(verdict), left_ms

    async def leave(self, probe: str, outcome: Outcome) -> None:
        """See `Circuit`."""
        await self._run(probe, outcome.value)

    async def trip(self) -> None:
        """See `Circuit`."""
        await self._run("", "trip")

    async def _run(self, probe: str, operation: str) -> tuple[str, int]:
        # Here, so that a process with local circuits only does not load the driver.
        from media_gateway.core.adapters.redis import translated

        p = self._policy
        arguments: list[str | int] = [p.open_ms, p.probes, PROBE_LEASE_MS, probe, p.successes, operation]
        with translated():
            async with asyncio.timeout(REDIS_BUDGET_S):
                verdict, left_ms = await self._script(keys=list(self._keys), args=arguments)
        return verdict.decode(), int(left_ms)


class _Window:
    """Calls and failures of the last ``window_ms``, in ten slots."""

    SLOTS = 10

    def __init__(self, window_ms: int, clock: Callable[[], float]) -> None:
        self._slot_s = window_ms / 1000 / self.SLOTS
        self._clock = clock
        self._slots: dict[int, list[int]] = {}

    def add(self, *, failed: bool) -> None:
        now = int(self._clock() / self._slot_s)
        slot = self._slots.get(now)
        if slot is not None:
            slot[0] += 1
            slot[1] += failed
            return
        self._slots[now] = [1, int(failed)]
        for old in [s for s in self._slots if s <= now - self.SLOTS]:
            del self._slots[old]

    def totals(self) -> tuple[int, int]:
        oldest = int(self._clock() / self._slot_s) - self.SLOTS
        live = [counts for slot, counts in self._slots.items() if slot > oldest]
        return sum(c[0] for c in live), sum(c[1] for c in live)

    def clear(self) -> None:
        self._slots.clear()


def counts_as_failure(error: BaseException) -> bool:
    """Whether an error speaks against the upstream: it was away, too slow, or answered with a server error."""
    return isinstance(
        error, UnavailableError | DeadlineExceededError | UpstreamError | TimeoutError | ConnectionError
    )


class _Call(NamedTuple):
    """A call that was let through, and when."""

    circuit: Circuit
    verdict: Verdict
    probe: str
    started_s: float


class CircuitBreaker:
    """Guards calls to one upstream.

    Parameters
    ----------
    name
        The upstream; processes that use the same name share the circuit.
    policy
        When to open and close.
    redis
        Where to share; None keeps the state in this process.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        redis: "RedisHandle | None" = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._policy = policy
        self._clock = clock
        self._local = LocalCircuit(policy, clock)
        self._shared = RedisCircuit(name, policy, redis) if redis is not None else None
        self._window = _Window(policy.window_ms, clock)
        self._seen_closed_at = -float("inf")
        self._is_asking = False
        self._open = _state.labels(name)

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """Make one call inside the block; its exception or lack of one is the outcome.

        Raises
        ------
        UnavailableError
            The circuit is open; ``retry_after_ms`` says for how long. The block was not run.
        """
        return _Attempt(self._enter, self._left)

    def _is_slow(self, started_s: float) -> bool:
        slow_ms = self._policy.slow_ms
        return slow_ms is not None and (self._clock() - started_s) * 1000 >= slow_ms

    async def _enter(self) -> _Call:
        if self._is_known_closed():
            return _Call(self._shared or self._local, Verdict.CLOSED, "", self._clock())
        probe = str(uuid7())
        circuit, verdict, left_ms = await self._ask(probe)
        self._open.set(verdict is not Verdict.CLOSED)
        if verdict is Verdict.OPEN:
            _refused.labels(self.name).inc()
            raise UnavailableError(
                f"{self.name} is failing; calls to it are paused", retry_after_ms=max(1, left_ms)
            )
        return _Call(circuit, verdict, probe, self._clock())

    def _is_known_closed(self) -> bool:
        """Whether the shared circuit was closed a moment ago, or just now, and somebody is asking it again already."""
        age_ms = (self._clock() - self._seen_closed_at) * 1000
        return age_ms < REFRESH_MS or (self._is_asking and age_ms < float("inf"))

    async def _left(self, call: _Call, error: BaseException | None) -> None:
        outcome = Outcome.SUCCESS
        if isinstance(error, asyncio.CancelledError):
            outcome = Outcome.FAILURE if self._is_slow(call.started_s) else Outcome.CANCELLED
        elif isinstance(error, Exception) and counts_as_failure(error):
            outcome = Outcome.FAILURE
        if call.verdict is Verdict.PROBE:
            # Shielded: a slot lost to a cancelled caller would keep the circuit half-open for the whole lease.
            await asyncio.shield(self._leave(call.circuit, call.probe, outcome))
        elif outcome is not Outcome.CANCELLED:
            await self._count(failed=outcome is Outcome.FAILURE)

    async def _ask(self, probe: str) -> tuple[Circuit, Verdict, int]:
        if self._shared is not None:
            self._is_asking = True
            try:
                verdict, left_ms = await self._shared.enter(probe)
            except (MediaGatewayError, TimeoutError):
                _log.debug("circuit state not reachable, using the local one", upstream=self.name)
            else:
                self._seen_closed_at = self._clock() if verdict is Verdict.CLOSED else -float("inf")
                return self._shared, verdict, left_ms
            finally:
                self._is_asking = False
        verdict, left_ms = await self._local.enter(probe)
        return self._local, verdict, left_ms

    async def _leave(self, circuit: Circuit, probe: str, outcome: Outcome) -> None:
        try:
            await circuit.leave(probe, outcome)
        except (MediaGatewayError, TimeoutError):
            _log.warning("a probe's outcome could not be shared", upstream=self.name, outcome=outcome)

    async def _count(self, *, failed: bool) -> None:
        self._window.add(failed=failed)
        if not failed:
            return
        calls, failures = self._window.totals()
        if failures < self._policy.failures or failures < self._policy.error_rate * calls:
            return
        _log.warning("circuit opened", upstream=self.name, failures=failures, calls=calls)
        self._window.clear()
        self._seen_closed_at = -float("inf")
        await self._local.trip()
        if self._shared is not None:
            try:
                await self._shared.trip()
            except (MediaGatewayError, TimeoutError):
                _log.warning("an opened circuit could not be shared", upstream=self.name)


class _Attempt:
    """What `CircuitBreaker.attempt` gives. Every call passes one, and a generator costs twice as much."""

    __slots__ = ("_call", "_enter", "_left")

    def __init__(
        self,
        enter: Callable[[], Awaitable[_Call]],
        left: Callable[[_Call, BaseException | None], Awaitable[None]],
    ) -> None:
        self._enter = enter
        self._left = left

    async def __aenter__(self) -> None:
        self._call = await self._enter()

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._left(self._call, error)
