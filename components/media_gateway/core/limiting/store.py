"""The counters in Redis: all rules of a request at once, and all requests of one turn of the event loop in one script call.

The server's clock decides. A call of its own for each request would cost more than all else that a decision does.

Every state is one string that MGET reads together: a log is its moments as doubles, oldest first; counters are a window's
number and counts; GCRA is its theoretical arrival time. Only leases are a sorted set, for which MGET gives nothing.
Nothing is written before all rules have agreed, so a refused request costs nobody anything.
"""

import asyncio
import struct
from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING, NamedTuple

from media_gateway.core.errors import MediaGatewayError
from media_gateway.core.limiting.rules import Charge, Decision, Receipt, Standing

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from media_gateway.core.adapters.redis import RedisHandle

LEASE_US = 60_000_000
"""How long a request in progress counts without a sign of life, in microseconds: twice the usual longest request. What a
crashed process held is free again after this."""

BUSY_RETRY_US = 1_000_000
"""Wait that a full concurrency rule asks for, in microseconds. Nobody knows when a request will end."""

BATCH = 64
"""Requests that one script call judges at most: Redis does nothing else meanwhile."""

# KEYS: one a charge, of one request after another. ARGV: the packed rules of all, how many charges each request has (a byte
# each); with leases their length and the id of each request. Requests are judged in order as if each had its own call.
# The answer is packed, too: for each request moment and verdict, then passed, free, reset and retry of each rule, all doubles.
DECIDE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local pack, unpack_at = struct.pack, struct.unpack
local rules, sizes = ARGV[1], ARGV[2]
local states, held, out = {}, redis.call('MGET', unpack(KEYS)), {}
for i, key in ipairs(KEYS) do states[key] = held[i] or '' end
local first_key = 0
for request = 1, #sizes do
local count = string.byte(sizes, request)
local verdict, answer, writes = 1, {}, {}
for n = 1, count do
  local i = first_key + n
  local key = KEYS[i]
  local kind, limit, window, burst, cost, enforced = unpack_at('<dddddd', rules, 48 * i - 47)
  local state = states[key]
  local free, reset, retry, kept, ttl = 0, 0, 0, nil, 0
  if kind == 1 then
    local first, size = 1, #state
    while first < size and unpack_at('<d', state, first) <= now - window do first = first + 8 end
    local used = (size - first + 1) / 8
    free, reset = limit - used, window
    if used > 0 then reset = unpack_at('<d', state, first) + window - now end
    if free < cost then
      retry = unpack_at('<d', state, first + 8 * (used + cost - limit - 1)) + window - now
    else
      kept = string.sub(state, first) .. string.rep(pack('<d', now), cost)
      ttl = window
    end
  elseif kind == 2 or kind == 3 then
    local passed = now % window
    local index = (now - passed) / window
    local current, last = 0, 0
    if state ~= '' then
      local at, a, b = unpack_at('<ddd', state)
      if at == index then current, last = a, b elseif at == index - 1 then last = a end
    end
    if kind == 3 then last = 0 end
    free = math.floor(limit - current - last * (window - passed) / window)
    reset = window - passed
    if free >= cost then
      kept = pack('<ddd', index, current + cost, last)
      ttl = window - passed
      if kind == 2 then ttl = ttl + window end
    elseif kind == 3 then
      retry = window - passed
    elseif current + cost <= limit then
      retry = math.ceil(window - (limit - cost - current) * window / last - passed) + 1
    else
      retry = math.ceil(window - passed + math.max(0, window - (limit - cost) * window / current)) + 1
    end
  elseif kind == 4 then
    local step, ahead = window / limit, 0
    if state ~= '' then ahead = math.max(0, unpack_at('<d', state) - now) end
    free = math.min(burst, math.floor(burst - (ahead - 0.5) / step))
    reset = math.ceil(ahead - (burst - free - 1) * step)
    if free >= cost then
      kept = pack('<d', now + ahead + cost * step)
      ttl = ahead + cost * step
    else
      retry = math.ceil(ahead - (burst - cost) * step)
    end
  else
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    free = limit - redis.call('ZCARD', key)
    if free < cost then retry = 1000000 end
  end
  local passes = free >= cost and 1 or 0
  if passes == 0 and enforced == 1 then verdict = 0 end
  if passes == 1 then writes[#writes + 1] = {key, kind, kept, math.ceil(ttl / 1000) + 1} end
  answer[n] = pack('<dddd', passes, free, reset, retry)
end
if verdict == 1 then
  for _, w in ipairs(writes) do
    if w[2] == 5 then
      redis.call('ZADD', w[1], now + ARGV[3], ARGV[3 + request])
      redis.call('PEXPIRE', w[1], math.ceil(ARGV[3] / 1000) + 1)
    else
      redis.call('SET', w[1], w[3], 'PX', w[4])
      states[w[1]] = w[3]
    end
  end
end
out[request] = pack('<dd', now, verdict) .. table.concat(answer)
first_key = first_key + count
end
return table.concat(out)
"""

# KEYS: one a charge of a request. ARGV: the packed rule of each, then the lease's id and the moment of the charge.
_GIVE_BACK = """
local lease, charged = ARGV[#KEYS + 1], tonumber(ARGV[#KEYS + 2])
for i, key in ipairs(KEYS) do
  local kind, limit, window, _, cost = struct.unpack('<dddddd', ARGV[i])
  local state = kind ~= 5 and redis.call('GET', key) or nil
  if kind == 5 then
    redis.call('ZREM', key, lease)
  elseif state and kind == 1 then
    local mark = struct.pack('<d', charged)
    for at = 1, #state, 8 do
      if string.sub(state, at, at + 7) == mark then
        local rest = string.sub(state, 1, at - 1) .. string.sub(state, at + 8 * cost)
        if rest == '' then redis.call('DEL', key) else redis.call('SET', key, rest, 'KEEPTTL') end
        break
      end
    end
  elseif state and kind == 4 then
    redis.call('SET', key, struct.pack('<d', struct.unpack('<d', state) - cost * window / limit), 'KEEPTTL')
  elseif state then
    local at, current, last = struct.unpack('<ddd', state)
    local index = (charged - charged % window) / window
    if at == index then current = math.max(0, current - cost) end
    if at == index + 1 then last = math.max(0, last - cost) end
    redis.call('SET', key, struct.pack('<ddd', at, current, last), 'KEEPTTL')
  end
end
"""

# KEYS: the sets of one lease. ARGV: its id and length. A lease that has run out meanwhile is not taken anew.
_RENEW = """
local clock = redis.call('TIME')
local ends = clock[1] * 1000000 + clock[2] + ARGV[2]
for _, key in ipairs(KEYS) do
  if redis.call('ZADD', key, 'XX', 'CH', ends, ARGV[1]) == 1 then
    redis.call('PEXPIRE', key, math.ceil(ARGV[2] / 1000) + 1)
  end
end
"""


_HEAD = struct.Struct("<2d")
_STANDING = struct.Struct("<4d")


class Question(NamedTuple):
    """One request that waits to be judged."""

    charges: Sequence[Charge]
    lease: str
    answer: asyncio.Future[Decision]


def arguments(questions: Sequence[Question], lease_us: str) -> list[bytes | str]:
    """``ARGV`` of `DECIDE`."""
    packed: list[bytes | str] = [
        b"".join([charge.rule.packed for asked in questions for charge in asked.charges]),
        bytes([len(asked.charges) for asked in questions]),
    ]
    if any(asked.lease for asked in questions):
        packed += (lease_us, *(asked.lease for asked in questions))
    return packed


class CounterStore:
    """Judges charges by counters that all processes share.

    Parameters
    ----------
    redis
        Whose server; connections are the store's own.
    timeout_ms
        Longest an answer is waited for, in milliseconds. A call is never repeated: its first try may have charged.
    """

    def __init__(self, redis: "RedisHandle", *, timeout_ms: int, lease_us: int = LEASE_US) -> None:
        # Here, so that a process that limits nothing does not load the driver.
        from media_gateway.core.adapters.redis import Script

        self._gathered: list[Question] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._client: Redis = redis.client_of_its_own(timeout_ms=timeout_ms)
        self._lease_us = str(lease_us)
        self._decide = Script(self._client, DECIDE)
        self._give_back = Script(self._client, _GIVE_BACK)
        self._renew = Script(self._client, _RENEW)

    async def decide(self, charges: Sequence[Charge], lease: str) -> Decision:
        """Check all, then charge all or none.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't be asked. After the latter the request may have been charged.
        """
        loop = asyncio.get_running_loop()
        if not self._gathered:
            # After all that is ready in this turn of the loop.
            loop.call_soon(self._send)
        asked = Question(charges, lease, loop.create_future())
        self._gathered.append(asked)
        return await asked.answer

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        # The keys of a call must lie in one slot of a cluster: those of one scope do.
        scopes: dict[str, list[Question]] = {}
        for asked in gathered:
            scopes.setdefault(asked.charges[0].key.partition("}")[0], []).append(asked)
        for questions in scopes.values():
            for start in range(0, len(questions), BATCH):
                # In an empty context: no caller's deadline is that of the others.
                task = asyncio.create_task(self._ask(questions[start : start + BATCH]), context=Context())
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _ask(self, questions: Sequence[Question]) -> None:
        try:
            keys = [charge.key for asked in questions for charge in asked.charges]
            packed = memoryview(await self._decide.run(keys, arguments(questions, self._lease_us)))
            at = 0
            for asked in questions:
                size = _HEAD.size + _STANDING.size * len(asked.charges)
                if not asked.answer.done():
                    asked.answer.set_result(read_answer(asked.charges, packed[at : at + size], asked.lease))
                at += size
        except MediaGatewayError as error:
            for asked in questions:
                if not asked.answer.done():
                    asked.answer.set_exception(
                        type(error)(error.message, retry_after_ms=error.retry_after_ms, details=error.details)
                    )
        finally:
            for asked in questions:
                # Only where the client is closed under it, or of a bug: nobody must wait for ever.
                asked.answer.cancel()

    async def give_back(self, receipt: Receipt) -> None:
        """Take charges of an admitted request back, leases among them.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't be asked.
        """
        arguments: list[bytes | str | int] = [c.rule.packed for c in receipt.charges]
        arguments += (receipt.lease, receipt.charged_at_us)
        await self._give_back.run([c.key for c in receipt.charges], arguments)

    async def renew(self, receipt: Receipt) -> None:
        """Let the leases of a long request count on.

        Raises
        ------
        UnavailableError, DeadlineExceededError
            Redis can't be asked.
        """
        await self._renew.run([c.key for c in receipt.charges], [receipt.lease, self._lease_us])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def read_answer(charges: Sequence[Charge], packed: memoryview, lease: str) -> Decision:
    """What `DECIDE` has answered about one request."""
    now, verdict = _HEAD.unpack_from(packed)
    admitted = verdict == 1
    standings, charged = [], []
    for charge, (passed, free, reset, retry) in zip(
        charges, _STANDING.iter_unpack(packed[_HEAD.size :]), strict=True
    ):
        left = int(free)
        if passed and admitted:
            left -= charge.rule.cost
            charged.append(charge)
        standings.append(Standing(charge.rule, passed == 1, max(0, left), int(reset), int(retry)))
    receipts = (Receipt(tuple(charged), int(now), lease, here=False),) if charged else ()
    return Decision(admitted, tuple(standings), receipts)
