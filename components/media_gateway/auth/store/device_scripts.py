"""Every step of a device grant as one Lua script, by the clock of Redis. Called by `store.device` alone.

All keys carry one hash tag, so that on a cluster they lie on one server: a decision touches a code, the index of live
codes and the guesses of everybody, and must be one step. One server runs far more scripts a second than TVs poll. The
record's key is built inside `DECIDE` from what the pointer holds; it carries the same tag.

A record is a hash: client, scope, source, begun, expires, state (pending, approved, denied, redeemed), interval and polled
(milliseconds); once decided user, grant, granted; and issued, once the tokens are out.
"""

from typing import Final

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: record, pointer of the short code, of the long code, live codes.
# ARGV: digest of the device code, life, keep, interval (ms), crowd, client, scope, source.
CREATE: Final = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
local long = redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[5])
if not redis.call('SET', long and KEYS[3] or KEYS[2], ARGV[1], 'NX', 'PX', ARGV[3]) then return {0, 0} end
local expires = now + ARGV[2]
redis.call('HSET', KEYS[1], 'state', 'pending', 'client', ARGV[6], 'scope', ARGV[7], 'source', ARGV[8],
  'begun', now, 'expires', expires, 'interval', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[4], expires, ARGV[1])
redis.call('PEXPIRE', KEYS[4], ARGV[3])
return {1, long and 1 or 0}
"""
)

# KEYS: record. ARGV: client, step of slow_down, least tolerance (ms), tolerance as a share of the interval.
# The order of the checks is that of the notes: known, the client's, spent, expired, denied, approved, interval, pending.
POLL: Final = (
    _NOW
    + """
local f = redis.call('HMGET', KEYS[1], 'client', 'state', 'expires', 'polled', 'interval', 'grant', 'issued', 'user',
  'granted')
if not f[1] or f[1] ~= ARGV[1] then return {'unknown'} end
if f[2] == 'redeemed' then return {'spent', f[6], f[7] or '0'} end
if now >= tonumber(f[3]) then return {'expired'} end
if f[2] == 'denied' then return {'denied'} end
if f[2] == 'approved' then
  redis.call('HSET', KEYS[1], 'state', 'redeemed')
  return {'granted', f[6], f[8], f[9]}
end
local interval = tonumber(f[5])
redis.call('HSET', KEYS[1], 'polled', now)
local early = f[4] and interval - (now - tonumber(f[4])) or 0
if early > math.max(tonumber(ARGV[3]), interval * ARGV[4]) then
  interval = interval + ARGV[2]
  redis.call('HSET', KEYS[1], 'interval', interval)
  return {'slow_down', interval}
end
return {'pending', interval}
"""
)

# KEYS: record. ARGV: grant, 1 if its tokens are out, 0 if none were made and the next poll may try again.
SETTLE: Final = """
local f = redis.call('HMGET', KEYS[1], 'state', 'grant')
if f[1] ~= 'redeemed' or f[2] ~= ARGV[1] then return 0 end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'issued', '1') else redis.call('HSET', KEYS[1], 'state', 'approved') end
return 1
"""

# KEYS: pointer, live codes, wrong guesses of all, of the user, of the source.
# ARGV: window (ms), limits of all, user, source; prefix of records; user; action (look, approve, deny); grant; the user's
# scopes; the source. A guess beyond a limit is neither answered nor counted; a limit's list holds its last guesses, newest first.
DECIDE: Final = (
    _NOW
    + """
local window = tonumber(ARGV[1])
local names = {'all', 'user', 'source'}
for i = 1, 3 do
  local limit = tonumber(ARGV[1 + i])
  local oldest = redis.call('LINDEX', KEYS[2 + i], limit - 1)
  if oldest and oldest + window > now then return {'limited', names[i], oldest + window - now} end
end
local device = redis.call('GET', KEYS[1])
local record = ARGV[5] .. (device or '')
local f = redis.call('HMGET', record, 'state', 'expires', 'client', 'scope', 'source', 'begun', 'user')
local ours = f[1] == 'pending' or f[7] == ARGV[6]
if not f[1] or now >= tonumber(f[2]) or not ours then
  for i = 1, 3 do
    redis.call('LPUSH', KEYS[2 + i], now)
    redis.call('LTRIM', KEYS[2 + i], 0, ARGV[1 + i] - 1)
    redis.call('PEXPIRE', KEYS[2 + i], window)
  end
  return {'unknown'}
end
if f[1] ~= 'pending' then return {'decided', f[1]} end
if ARGV[7] == 'approve' then
  local granted, theirs = {}, ' ' .. ARGV[9] .. ' '
  for scope in string.gmatch(f[4], '%S+') do
    if string.find(theirs, ' ' .. scope .. ' ', 1, true) then granted[#granted + 1] = scope end
  end
  redis.call('HSET', record, 'state', 'approved', 'user', ARGV[6], 'grant', ARGV[8], 'granted', table.concat(granted, ' '))
elseif ARGV[7] == 'deny' then
  redis.call('HSET', record, 'state', 'denied', 'user', ARGV[6])
end
if ARGV[7] ~= 'look' then
  redis.call('HSET', record, 'decided', now, 'decided_from', ARGV[10])
  redis.call('ZREM', KEYS[2], device)
end
return {'found', device, f[3], f[4], f[5], f[6], f[2]}
"""
)
