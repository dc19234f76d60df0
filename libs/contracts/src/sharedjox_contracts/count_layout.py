r"""How many connections are on each channel, over the whole cluster.

Each node writes its own share and the scripts keep the totals beside it, in one step. So a total is one read, nobody
asks the other nodes, and the change that makes a channel occupied or vacant is seen by exactly one caller. The share of
a node that died is taken off the totals by whoever cleans up behind it (`lease_layout`).

| name | type | holds |
|---|---|---|
| `sj:{app}:counts` | hash | channel -> subscribed connections; field `*` -> all connections of the app |
| `sj:{app}:counts:<node>` | hash | the same, of one node |
| `sj:{app}:counted:<channel>` | string | the count last announced on a big channel, for the throttle's time |
"""

from __future__ import annotations

from typing import Final

from .redis_layout import KEY_PREFIX
from .webhook_layout import WEBHOOK_FUNCTIONS

CONNECTIONS_FIELD: Final = "*"
"""No channel name has a star in it."""
ANNOUNCE_ALL_UP_TO: Final = 100
ANNOUNCE_EVERY_MS: Final = 5000
"""Above that many subscribers the count is announced at most this often (Pusher Channels, "Subscription counting")."""

ANNOUNCES: Final = "a"
"""Flag of a channel: its subscribers are told the count."""
COUNT_WEBHOOK: Final = "c"
"""Flag: whenever they are, so are the webhooks' receivers."""
OCCUPANCY_WEBHOOK: Final = "o"
"""Flag: the webhooks' receivers are told of the first subscriber and the last."""


def totals_key(app_id: str) -> str:
    """Connections per channel over all nodes."""
    return f"{KEY_PREFIX}:{{{app_id}}}:counts"


def share_key(app_id: str, node: str) -> str:
    """Connections per channel on one node."""
    return f"{KEY_PREFIX}:{{{app_id}}}:counts:{node}"


def announced_prefix(app_id: str) -> str:
    """What the keys of the throttle begin with."""
    return f"{KEY_PREFIX}:{{{app_id}}}:counted:"


def topic_prefix(app_id: str) -> str:
    """What `redis_layout.live_topic` begins with; `<channel>}:live` follows."""
    return f"{KEY_PREFIX}:{{{app_id}:"


_ANNOUNCE_FUNCTION: Final = (
    WEBHOOK_FUNCTIONS
    + rf"""
-- Tell a channel's subscribers how many they are. Returns 1 when that must wait because of the throttle, else 0.
-- Channel names hold nothing that JSON escapes.
local function announce(throttle, topic, channel, total, queue, flags)
  if total > {ANNOUNCE_ALL_UP_TO} then
    if not redis.call('SET', throttle .. channel, total, 'NX', 'PX', {ANNOUNCE_EVERY_MS}) then
      return tonumber(redis.call('GET', throttle .. channel)) == total and 0 or 1
    end
  end
  redis.call('PUBLISH', topic .. channel .. '}}:live', '0 - {{"e":"pusher_internal:subscription_count"}}\n'
    .. '{{"event":"pusher_internal:subscription_count","data":"{{\\"subscription_count\\":' .. total
    .. '}}","channel":"' .. channel .. '"}}')
  if string.find(flags, 'c', 1, true) then
    webhook(queue, '{{"name":"subscription_count","channel":"' .. channel .. '","subscription_count":' .. total .. '}}')
  end
  return 0
end
local function occupancy(queue, held, channel, before, after)
  if before == 0 and after > 0 then
    webhook_came(queue, held, webhook_text('channel_occupied', channel), webhook_text('channel_vacated', channel))
  elseif before > 0 and after == 0 then
    webhook_went(held, webhook_text('channel_vacated', channel))
  end
end
"""
)

COUNT_SCRIPT: Final = (
    _ANNOUNCE_FUNCTION
    + """
-- Set a node's share of some channels. KEYS: totals, share, webhook queue, webhook held.
-- ARGV: throttle prefix, topic prefix, then channel, connections, flags.
-- Returns for each channel: total before, total now, 1 when its announcement must wait.
local result = {}
for n = 3, #ARGV, 3 do
  local channel, mine = ARGV[n], tonumber(ARGV[n + 1])
  local before = tonumber(redis.call('HGET', KEYS[1], channel) or '0')
  local change, after, late = mine - tonumber(redis.call('HGET', KEYS[2], channel) or '0'), before, 0
  if change ~= 0 then
    after = redis.call('HINCRBY', KEYS[1], channel, change)
    if after <= 0 then
      redis.call('HDEL', KEYS[1], channel)
      after = 0
    end
    if mine == 0 then
      redis.call('HDEL', KEYS[2], channel)
    else
      redis.call('HSET', KEYS[2], channel, mine)
    end
    local flags = ARGV[n + 2]
    if string.find(flags, 'o', 1, true) then
      occupancy(KEYS[3], KEYS[4], channel, before, after)
    end
    if string.find(flags, 'a', 1, true) and after > 0 then
      late = announce(ARGV[1], ARGV[2], channel, after, KEYS[3], flags)
    end
  end
  result[#result + 1] = before
  result[#result + 1] = after
  result[#result + 1] = late
end
return result
"""
)

ANNOUNCE_SCRIPT: Final = (
    _ANNOUNCE_FUNCTION
    + """
-- Announce a count that had to wait. KEYS: totals, webhook queue. ARGV: throttle prefix, topic prefix, channel, flags.
-- Returns 1 when it must wait again, else 0.
local total = tonumber(redis.call('HGET', KEYS[1], ARGV[3]) or '0')
if total <= 0 then
  return 0
end
return announce(ARGV[1], ARGV[2], ARGV[3], total, KEYS[2], ARGV[4])
"""
)

FORGET_SHARE_SCRIPT: Final = (
    _ANNOUNCE_FUNCTION
    + """
-- Take part of a dead node's share off the totals. KEYS: totals, share, webhook queue, webhook held.
-- ARGV: throttle prefix, topic prefix, the app's flags, how many channels at most (about).
-- Returns {1 when more is left, channel, total before, total now, 1 when its announcement must wait, channel, ...}.
local entries = redis.call('HSCAN', KEYS[2], 0, 'COUNT', ARGV[4])[2]
local result = {0}
for n = 1, #entries, 2 do
  local channel, theirs = entries[n], tonumber(entries[n + 1])
  redis.call('HDEL', KEYS[2], channel)
  local before = tonumber(redis.call('HGET', KEYS[1], channel) or '0')
  local after, late = redis.call('HINCRBY', KEYS[1], channel, -theirs), 0
  if after <= 0 then
    redis.call('HDEL', KEYS[1], channel)
    after = 0
  elseif string.find(ARGV[3], 'a', 1, true) and channel ~= '*' and string.sub(channel, 1, 9) ~= 'presence-'
    and string.sub(channel, 1, 1) ~= '#' then
    late = announce(ARGV[1], ARGV[2], channel, after, KEYS[3], ARGV[3])
  end
  if string.find(ARGV[3], 'o', 1, true) and channel ~= '*' and string.sub(channel, 1, 1) ~= '#' then
    occupancy(KEYS[3], KEYS[4], channel, before, after)
  end
  result[#result + 1] = channel
  result[#result + 1] = before
  result[#result + 1] = after
  result[#result + 1] = late
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  result[1] = 1
end
return result
"""
)
