"""What lives where in Redis, and the one script that publishes.

Every key of a channel carries the hash tag `{app:channel}`, so that a Redis Cluster keeps them in one slot and the
script stays legal there. `live` is a pub/sub channel name, the others are keys.

| name | type | holds |
|---|---|---|
| `sj:{app:channel}:log` | stream | the channel's history; entry id `<offset>-0`, field `m` = the publication |
| `sj:{app:channel}:meta` | hash | `e` epoch, `o` offset of the newest event, `i:<event id>` the ids still in history, |
| | | `a` when the oldest of them came (or before), `r` when these keys' lives were last extended, both Unix ms |
| `sj:{app:channel}:last` | string | the last publication of a cache channel, with its time to live |
| `sj:{app:channel}:seen:<client id>` | string | `<epoch> <offset>` that a stock client has certainly received |
| `sj:{app:channel}:live` | pub/sub | publications as they happen |
| `sj:{app}:granting` | string | there when the app's back end writes grants |
| `sj:{app}:mark:<node>` | string | a gateway process's count of its own marks, see `watermark_key` |

Commands to the gateways are events of a channel of their own, CONTROL_CHANNEL, so they have a history too.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

KEY_PREFIX: Final = "sj"


def _key(app_id: str, channel: str, part: str) -> str:
    return f"{KEY_PREFIX}:{{{app_id}:{channel}}}:{part}"


def log_key(app_id: str, channel: str) -> str:
    """The channel's history (stream)."""
    return _key(app_id, channel, "log")


def meta_key(app_id: str, channel: str) -> str:
    """Epoch, newest offset and remembered event ids (hash)."""
    return _key(app_id, channel, "meta")


def last_key(app_id: str, channel: str) -> str:
    """Last event of a cache channel (string)."""
    return _key(app_id, channel, "last")


def seen_key(app_id: str, channel: str, client_id: str) -> str:
    """Where a stock client certainly is in this channel: `<epoch> <offset>` (string)."""
    return _key(app_id, channel, f"seen:{client_id}")


def live_topic(app_id: str, channel: str) -> str:
    """The pub/sub name that gateways listen on for this channel."""
    return _key(app_id, channel, "live")


CHANNEL_SLOTS: Final = 16_384
"""Into how many slots a Redis Cluster divides what it holds."""


def channel_slot(app_id: str, channel: str) -> int:
    """The slot of a channel's keys and of its live topic (Redis Cluster specification, "Key distribution model")."""
    return binascii.crc_hqx(f"{app_id}:{channel}".encode(), 0) % CHANNEL_SLOTS


def parse_live_topic(topic: str) -> tuple[str, str]:
    """The (app id, channel) of a pub/sub name. Raises: ValueError for a name of another form."""
    head, tail = f"{KEY_PREFIX}:{{", "}:live"
    if not (topic.startswith(head) and topic.endswith(tail)):
        msg = f"not a live topic: {topic!r}"
        raise ValueError(msg)
    app_id, _, channel = topic[len(head) : -len(tail)].partition(":")
    return app_id, channel


CONTROL_CHANNEL: Final = "#control"
"""Commands to the gateways (take a channel away, close, terminate a user) are durable events here: a gateway that was
away is told what it missed. No client can name it."""


def control_topic(app_id: str) -> str:
    """The pub/sub name of what gateways tell each other and need not be told twice (`control.UserState`)."""
    return f"{KEY_PREFIX}:{{{app_id}}}:control"


def watermark_key(app_id: str, node: str) -> str:
    """How often a gateway process has written this key (string).

    Redis loses the end of what was written to it, never the middle. What was written before a mark that is still there,
    grants among it, is still there as well; so the key has the hash tag of the grants.
    """
    return f"{KEY_PREFIX}:{{{app_id}}}:mark:{node}"


def grants_key(app_id: str, channel: str) -> str:
    """Who was authorized for this channel (sorted set): member `socket_id|user_id|session_id`, score Unix seconds."""
    return f"{KEY_PREFIX}:{{{app_id}}}:grants:{channel}"


def granting_key(app_id: str) -> str:
    """There when the app's back end writes grants (string); without them there is nothing that Redis could forget."""
    return f"{KEY_PREFIX}:{{{app_id}}}:granting"


def denied_key(app_id: str, channel: str, socket_id: str) -> str:
    """Stands while a channel that was taken away from a connection was not granted to it anew (string: a nonce).

    A signature is the same each time, so the gateway cannot tell an old one from a new one; this key can.
    """
    return f"{KEY_PREFIX}:{{{app_id}}}:denied:{socket_id}:{channel}"


DENIAL_SECONDS: Final = 2 * 86400
"""Longer than any connection lives."""

LIFT_DENIAL_SCRIPT: Final = """
-- Lift a denial that was read before the rule was checked, unless a newer one replaced it meanwhile.
-- KEYS: denied. ARGV: the nonce that was read. Returns 1 when lifted.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


def session_sockets_key(app_id: str, session_id: str) -> str:
    """The sockets that were authorized with one log-in session (set of socket ids)."""
    return f"{KEY_PREFIX}:{{{app_id}}}:session:{session_id}"


def replay_key(app_id: str, signature: str) -> str:
    """Stands while a used request signature is remembered (string; apps with `refuse_replays` only)."""
    return f"{KEY_PREFIX}:{{{app_id}}}:used:{signature}"


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much of a channel's past is kept: at most `length` events, none older than `age_seconds`.

    `meta_seconds` is how long the position itself outlives silence: while it lives, a client that missed nothing is
    told so even when the events are gone.
    """

    length: int = 1000
    age_seconds: int = 3600
    meta_seconds: int = 7 * 86400


LimitsFor = Callable[[str], HistoryLimits]
"""What a channel keeps."""

CONTROL_LIMITS: Final = HistoryLimits(length=10_000, age_seconds=86_400, meta_seconds=3650 * 86_400)
"""Of CONTROL_CHANNEL. A day is the longest life of a connection; the position never goes for want of commands."""

REPEAT_WINDOW: Final = 512
"""How many of a channel's newest event ids outlive its history: a relay that died repeats at most one batch."""

REFRESH_SHARE: Final = 64
"""The keys of a channel live this part longer than they must, so that not every event has to extend their lives."""

_PUBLISH_FUNCTION: Final = f"""
-- Append events to a channel's history and announce them, each once.
-- KEYS: log, meta, live topic, last (cache)
-- events: {{{{id, open frame, header}}, ...}}; candidate: epoch of a channel without one; now, age, keep, cache in ms
-- (keep: how long the position outlives silence; cache: life of the last event, 0 = no cache channel)
-- Returns the epoch and, for each event, its offset: negative when that id was in history or in this call already.
-- Each command costs Redis microseconds of its only core: what can be known without asking is not asked.
local function publish(events, candidate, now, length, age, keep, cache)
  local call = redis.call
  local fields = {{'e', 'o', 'a', 'r'}}
  for n, event in ipairs(events) do
    fields[n + 4] = 'i:' .. event[1]
  end
  local seen = call('HMGET', KEYS[2], unpack(fields))
  local epoch, newest = seen[1], tonumber(seen[2] or '0')
  local oldest, refreshed = tonumber(seen[3] or '0'), tonumber(seen[4] or '0')
  local changes = {{}}
  if not epoch then
    epoch, newest = candidate, 0
    changes = {{'e', epoch}}
    call('DEL', KEYS[1])
  end
  local offsets, given, offset, message = {{}}, {{}}, newest, nil
  for n, event in ipairs(events) do
    local known = seen[n + 4] or given[event[1]]
    if known then
      offsets[n] = -tonumber(known)
    else
      offset = offset + 1
      local place = tostring(offset)
      message = place .. ' ' .. epoch .. ' ' .. event[3] .. '\\n'
        .. event[2] .. ',"epoch":"' .. epoch .. '","offset":' .. place .. '}}'
      call('XADD', KEYS[1], place .. '-0', 'i', event[1], 't', now, 'm', message)
      call('PUBLISH', KEYS[3], message)
      changes[#changes + 1] = fields[n + 4]
      changes[#changes + 1] = place
      given[event[1]] = place
      offsets[n] = offset
    end
  end
  if offset == newest then
    return epoch, offsets
  end
  local kept, slack = call('XLEN', KEYS[1]), math.floor(math.min(age, keep) / {REFRESH_SHARE})
  if kept == offset - newest then
    oldest, refreshed = now, 0
    changes[#changes + 1] = 'a'
    changes[#changes + 1] = now
    if newest > 0 then
      -- The history aged away in silence: forget its ids too, but the newest, which a late relay might repeat.
      local known = call('HGETALL', KEYS[2])
      for n = 1, #known, 2 do
        if string.sub(known[n], 1, 2) == 'i:' and tonumber(known[n + 1]) <= newest - {REPEAT_WINDOW} then
          call('HDEL', KEYS[2], known[n])
        end
      end
    end
  end
  local is_due = now >= refreshed + slack or now < refreshed
  if is_due then
    changes[#changes + 1] = 'r'
    changes[#changes + 1] = now
  end
  call('HSET', KEYS[2], 'o', offset, unpack(changes))
  -- Trim from the front: all that is too many, and of what is too old a few more than came in. `oldest` is when the
  -- first entry came, or one before it: while that is recent, nothing is too old and nobody has to look.
  local surplus, quota, horizon, before = kept - length, offset - newest + 1, now - age, oldest
  while surplus > 0 or (quota > 0 and oldest < horizon) do
    local entry = call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    oldest = tonumber(entry[2][4])
    if surplus <= 0 and oldest >= horizon then
      break
    end
    call('XDEL', KEYS[1], entry[1])
    call('HDEL', KEYS[2], 'i:' .. entry[2][2])
    surplus, quota = surplus - 1, quota - 1
  end
  if before < horizon then
    call('HSET', KEYS[2], 'a', oldest)
  end
  if is_due then
    call('PEXPIRE', KEYS[1], age + slack)
    call('PEXPIRE', KEYS[2], keep + slack)
  end
  if cache > 0 then
    call('SET', KEYS[4], message, 'PX', cache)
  end
  return epoch, offsets
end
"""

PUBLISH_SCRIPT: Final = (
    _PUBLISH_FUNCTION
    + """
-- ARGV: event id, open frame, header, candidate epoch, now ms, length, age ms, keep ms, cache ms
-- Returns {1, epoch, offset} when published, {0, epoch, offset} when this id is already in history.
local epoch, offsets = publish({{ARGV[1], ARGV[2], ARGV[3]}}, ARGV[4],
  tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]))
if offsets[1] < 0 then
  return {0, epoch, -offsets[1]}
end
return {1, epoch, offsets[1]}
"""
)

PUBLISH_MANY_SCRIPT: Final = (
    _PUBLISH_FUNCTION
    + """
-- Several events of one channel: all or none of them, so a failure half-way (out of memory) cannot reorder the rest.
-- ARGV: candidate epoch, now ms, length, age ms, keep ms, cache ms, then event id, open frame, header of each event
-- Returns {epoch, offset, ...}; an offset is negative when that id is already in history.
local events = {}
for n = 7, #ARGV, 3 do
  events[#events + 1] = {ARGV[n], ARGV[n + 1], ARGV[n + 2]}
end
local epoch, offsets = publish(events, ARGV[1],
  tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
return {epoch, unpack(offsets)}
"""
)

MAX_EVENTS_PER_CALL: Final = 100
"""For `PUBLISH_MANY_SCRIPT`: a call stays about a millisecond long, during which Redis serves nobody else."""

SHARDED_PUBLISH_SCRIPT: Final = PUBLISH_SCRIPT.replace("'PUBLISH'", "'SPUBLISH'")
"""The same over sharded pub/sub (Redis 7+), which keeps an announcement inside the shard of its channel."""

OPEN_SCRIPT: Final = f"""
-- A channel's position for a listener. A channel without an epoch gets one: even "nothing yet" is a place.
-- KEYS: meta, log. ARGV: candidate epoch, meta ms, then what the listener had: epoch ('' at first), offset, event id.
-- If Redis does not have the listener's newest event, it lost events that it had confirmed, and their offsets are or
-- will be given to others: then the history begins anew, for everybody.
-- Returns {{epoch, offset, id of the newest event or '', 1 when history still reaches back to what the listener had}}.
local meta, log, known, offset, id = KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local life = math.floor(ARGV[2] * (1 + 1 / {REFRESH_SHARE}))
local function begin()
  redis.call('DEL', log, meta)
  redis.call('HSET', meta, 'e', ARGV[1])
  redis.call('PEXPIRE', meta, life)
  return {{ARGV[1], 0, '', 1}}
end
local position = redis.call('HMGET', meta, 'e', 'o', 'i:' .. id)
local epoch, newest = position[1], tonumber(position[2] or '0')
if not epoch then
  return begin()
end
redis.call('PEXPIRE', meta, life)
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local reaches = 1
if known == epoch then
  if newest < offset then
    return begin()
  end
  if id ~= '' and tonumber(position[3] or '-1') ~= offset then
    local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    first = first and tonumber(string.match(first[1], '^%d+')) or newest
    if offset >= first then
      return begin()
    end
    reaches = 0
  end
end
return {{epoch, newest, last and last[2][2] or '', reaches}}
"""

SHARDED_PUBLISH_MANY_SCRIPT: Final = PUBLISH_MANY_SCRIPT.replace("'PUBLISH'", "'SPUBLISH'")
"""`PUBLISH_MANY_SCRIPT` over sharded pub/sub."""
