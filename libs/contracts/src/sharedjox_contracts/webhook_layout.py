"""The webhook queue in Redis.

Gateways write it, in the same script as the change where the change is one; a worker sends it.

| name | type | holds |
|---|---|---|
| `sj:{app}:webhooks` | stream | events in order; field `e` = one member of a webhook's `events`, as JSON |
| `sj:{app}:webhooks:held` | sorted set | `channel_vacated`, `member_removed`; score = Unix microseconds when due |
| `sj:{app}:webhooks:merged:<channel>` | string | there while further `cache_miss` events of the channel are merged |
| `sj:{app}:webhooks:cursors` | hash | endpoint: id of the last stream entry that is done with |
| `sj:{app}:webhooks:sender:<endpoint>` | string | the worker that serves an endpoint now |

Who is back before its going was told has not gone for the receiver: a held event and its opposite cancel out.

Source: Pusher Channels, "Webhooks".
"""

from __future__ import annotations

from typing import Final

from .redis_layout import KEY_PREFIX

HOLD_SECONDS: Final = 3.0
"""How long a leaving is held back."""
MERGE_MS: Final = 1000
"""`cache_miss` events of one channel within this time are one."""
MAX_QUEUED: Final = 100_000
"""Events per app; beyond it the oldest are dropped: Redis' memory is not the place for a backlog of days."""


def queue_key(app_id: str) -> str:
    """Events to be sent."""
    return f"{KEY_PREFIX}:{{{app_id}}}:webhooks"


def held_key(app_id: str) -> str:
    """Events that wait for their opposite."""
    return f"{KEY_PREFIX}:{{{app_id}}}:webhooks:held"


def merged_key(app_id: str, channel: str) -> str:
    """Present while `cache_miss` events of this channel are merged."""
    return f"{KEY_PREFIX}:{{{app_id}}}:webhooks:merged:{channel}"


def cursors_key(app_id: str) -> str:
    """How far each endpoint was served."""
    return f"{KEY_PREFIX}:{{{app_id}}}:webhooks:cursors"


def sender_key(app_id: str, endpoint: str) -> str:
    """The lock of the one worker that sends to an endpoint."""
    return f"{KEY_PREFIX}:{{{app_id}}}:webhooks:sender:{endpoint}"


WEBHOOK_FUNCTIONS: Final = f"""
-- Webhook events of a script's own change. `queue` and `held` are the keys above.
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function webhook(queue, text)
  redis.call('XADD', queue, 'MAXLEN', '~', {MAX_QUEUED}, '*', 'e', text)
end
local function webhook_text(name, channel, user)
  local text = '{{"name":"' .. name .. '","channel":' .. cjson.encode(channel)
  if user then
    text = text .. ',"user_id":' .. cjson.encode(user)
  end
  return text .. '}}'
end
-- Somebody came (member_added, channel_occupied): cancels a held going, or is told at once.
local function webhook_came(queue, held, came, went)
  local due = redis.call('ZSCORE', held, went)
  if due then
    redis.call('ZREM', held, went)
    if now_us() < tonumber(due) then
      return
    end
    webhook(queue, went)
  end
  webhook(queue, came)
end
-- Somebody went: held back for a while.
local function webhook_went(held, went)
  redis.call('ZADD', held, 'NX', string.format('%.0f', now_us() + {round(HOLD_SECONDS * 1e6)}), went)
end
"""

RELEASE_HELD_SCRIPT: Final = (
    WEBHOOK_FUNCTIONS
    + """
-- Queue the held events that are due. KEYS: queue, held. ARGV: at most so many.
-- Returns {how many, microseconds until the next one is due or -1}.
local now = now_us()
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, text in ipairs(due) do
  webhook(KEYS[1], text)
  redis.call('ZREM', KEYS[2], text)
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return {#due, first[2] and math.max(0, tonumber(first[2]) - now) or -1}
"""
)

CACHE_MISS_SCRIPT: Final = (
    WEBHOOK_FUNCTIONS
    + f"""
-- KEYS: queue, merged. ARGV: channel.
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', {MERGE_MS}) then
  webhook(KEYS[1], webhook_text('cache_miss', ARGV[1]))
end
"""
)

ADVANCE_SCRIPT: Final = """
-- An endpoint is done with all entries up to an id. KEYS: queue, cursors, the endpoint's sender lock.
-- ARGV: who holds the lock, the id, the endpoint, then all other endpoints of the app.
-- Entries that every endpoint is done with are deleted. Returns 0 when somebody else serves the endpoint now.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[2])
local function before(a, b)
  local a_ms, a_n = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_n = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then
    return tonumber(a_ms) < tonumber(b_ms)
  end
  return tonumber(a_n) < tonumber(b_n)
end
local oldest = ARGV[2]
for n = 4, #ARGV do
  local cursor = redis.call('HGET', KEYS[2], ARGV[n]) or '0-0'
  if before(cursor, oldest) then
    oldest = cursor
  end
end
redis.call('XTRIM', KEYS[1], 'MINID', oldest)
return 1
"""

RENEW_LOCK_SCRIPT: Final = """
-- KEYS: lock. ARGV: holder, milliseconds. Returns 1 when the lock is (still) the holder's.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
return 0
"""

RELEASE_LOCK_SCRIPT: Final = """
-- KEYS: lock. ARGV: holder.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""
