"""Who of a consumer group reads which partition: leases in Redis, so that a partition has one reader at a time.

A member holds at most its fair share, takes what is free or belonged to a member that fell silent, and gives back what
is over its share once it has nothing of it in work.
"""

from collections.abc import Sequence
from typing import Any

from media_gateway.core.adapters.redis import RedisHandle, translated
from media_gateway.core.adapters.redis_stream.streams import PREFIX

# Time is Redis's own, so members' clocks don't matter. Both keys vanish with the last member.
_HOLD = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local member, ttl, given = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ttl, member)
for i = 4, 3 + given do
  if redis.call('HGET', KEYS[2], ARGV[i]) == member then redis.call('HDEL', KEYS[2], ARGV[i]) end
end
local share = math.ceil((#ARGV - 3 - given) / redis.call('ZCARD', KEYS[1]))
local held, free = {}, {}
for i = 4 + given, #ARGV do
  local owner = redis.call('HGET', KEYS[2], ARGV[i])
  if owner == member then held[#held + 1] = ARGV[i]
  elseif not owner or not redis.call('ZSCORE', KEYS[1], owner) then free[#free + 1] = ARGV[i] end
end
for _, partition in ipairs(free) do
  if #held >= share then break end
  redis.call('HSET', KEYS[2], partition, member)
  held[#held + 1] = partition
end
redis.call('PEXPIRE', KEYS[1], ttl * 10)
redis.call('PEXPIRE', KEYS[2], ttl * 10)
return {share, held}
"""

_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, #ARGV do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then redis.call('HDEL', KEYS[2], ARGV[i]) end
end
return 0
"""

# What any other consumer left pending becomes ours, and consumers that are neither alive nor hold anything are removed.
_CLAIM = """
local cursor, rounds = ARGV[3], 0
repeat
  local reply = redis.pcall('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, cursor, 'COUNT', 500, 'JUSTID')
  if reply.err then return redis.error_reply(reply.err) end
  cursor, rounds = reply[1], rounds + 1
until cursor == '0-0' or rounds == 20
if cursor == '0-0' then
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local name, pending = consumer[2], consumer[4]
    if pending == 0 and name ~= ARGV[2] and not redis.call('ZSCORE', KEYS[2], name) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    end
  end
end
return cursor
"""


class Leases:
    """The leases of one member.

    Parameters
    ----------
    redis
        Where they are kept.
    group, member
        Name of the group, and of the member in it (unique in time: a restarted process is another member).
    partitions
        Redis keys the group reads.
    ttl_ms
        How long leases last without being renewed by `hold`.
    """

    def __init__(
        self, redis: RedisHandle, *, group: str, member: str, partitions: Sequence[str], ttl_ms: int
    ) -> None:
        self._redis = redis
        self._group = group
        self._member = member
        self._partitions = tuple(partitions)
        self._ttl_ms = ttl_ms
        self._keys = (f"{PREFIX}group:{group}:members", f"{PREFIX}group:{group}:leases")

    async def hold(self, given_back: Sequence[str] = ()) -> tuple[int, list[str]]:
        """Renew, give back and take; returns the fair share and the partitions held now."""
        share, held = await self._run(
            _HOLD, self._keys, self._member, self._ttl_ms, len(given_back), *given_back, *self._partitions
        )
        return int(share), [name.decode() for name in held]

    async def leave(self) -> None:
        """Give everything back."""
        await self._run(_LEAVE, self._keys, self._member, *self._partitions)

    async def claim(self, partition: str) -> None:
        """Make everything that is pending in a held partition ours, to be delivered again."""
        cursor = "0-0"
        while True:
            reply = await self._run(_CLAIM, (partition, self._keys[0]), self._group, self._member, cursor)
            cursor = reply.decode()
            if cursor == "0-0":
                return

    async def _run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        with translated():
            return await self._redis.client.eval(script, len(keys), *keys, *arguments)
