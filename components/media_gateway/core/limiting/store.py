"""The counters in Redis: all rules of a request in one script call, by the server's clock.

Every state is one string that MGET reads together: a log is its moments as doubles, oldest first; counters are a window's
number and counts; GCRA is its theoretical arrival time. Only leases are a sorted set, for which MGET gives nothing.
Nothing is written before all rules have agreed, so a refused request costs nobody anything.
"""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from media_gateway.core.limiting.rules import Charge, Decision, Receipt, Standing

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from media_gateway.core.adapters.redis import RedisHandle

LEASE_US = 60_000_000
"""How long a request in progress counts without a sign of life, in microseconds: twice the usual longest request. What a
crashed process held is free again after this."""

BUSY_RETRY_US = 1_000_000
"""Wait that a full concurrency rule asks for, in microseconds. Nobody knows when a request will end."""

# KEYS: one a charge. ARGV: the packed rule of each, then the lease's id and length.
# The answer is packed, too: moment and verdict, then passed, free, reset and retry of each rule, all doubles.
DECIDE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local count = #KEYS
local pack, unpack_at = struct.pack, struct.unpack
local verdict, answer, writes = 1, {}, {}
local states = redis.call('MGET', unpack(KEYS))
for i = 1, count do
  local kind, limit, window, burst, cost, enforced = unpack_at('<dddddd', ARGV[i])
  local state = states[i] or ''
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
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    free = limit - redis.call('ZCARD', KEYS[i])
    if free < cost then retry = 1000000 end
  end
  local passes = free >= cost and 1 or 0
  if passes == 0 and enforced == 1 then verdict = 0 end
  if passes == 1 then writes[#writes + 1] = {i, kind, kept, math.ceil(ttl / 1000) + 1} end
  answer[i] = pack('<dddd', passes, free, reset, retry)
end
if verdict == 1 then
  for _, w in ipairs(writes) do
    if w[2] == 5 then
      redis.call('ZADD', KEYS[w[1]], now + ARGV[count + 2], ARGV[count + 1])
      redis.call('PEXPIRE', KEYS[w[1]], math.ceil(ARGV[count + 2] / 1000) + 1)
    else
      redis.call('SET', KEYS[w[1]], w[3], 'PX', w[4])
    end
  end
end
return pack('<dd', now, verdict) .. table.concat(answer)
"""

# KEYS and ARGV as above, then the lease's id and the moment of the charge.
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
        arguments: list[bytes | str] = [c.rule.packed for c in charges]
        if lease:
            arguments += (lease, self._lease_us)
        packed = await self._decide.run([c.key for c in charges], arguments)
        return read_answer(charges, packed, lease)

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


def read_answer(charges: Sequence[Charge], packed: bytes, lease: str) -> Decision:
    """What `DECIDE` has answered."""
    now, verdict = _HEAD.unpack_from(packed)
    admitted = verdict == 1
    standings, charged = [], []
    for charge, (passed, free, reset, retry) in zip(
        charges, _STANDING.iter_unpack(memoryview(packed)[_HEAD.size :]), strict=True
    ):
        left = int(free)
        if passed and admitted:
            left -= charge.rule.cost
            charged.append(charge)
        standings.append(Standing(charge.rule, passed == 1, max(0, left), int(reset), int(retry)))
    receipts = (Receipt(tuple(charged), int(now), lease, here=False),) if charged else ()
    return Decision(admitted, tuple(standings), receipts)
