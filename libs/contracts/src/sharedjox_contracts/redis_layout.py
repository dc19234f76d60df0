"""What lives where in Redis, and the one script that publishes.

Every key of a channel carries the hash tag `{app:channel}`, so that a Redis Cluster keeps them in one slot and the
script stays legal there. `live` is a pub/sub channel name, the others are keys.

| name | type | holds |
|---|---|---|
| `sj:{app:channel}:log` | stream | the channel's history; entry id `<offset>-0`, field `m` = the publication |
| `sj:{app:channel}:meta` | hash | `e` epoch, `o` offset of the newest event, `i:<event id>` the ids still in history |
| `sj:{app:channel}:last` | string | the last publication of a cache channel, with its time to live |
| `sj:{app:channel}:live` | pub/sub | publications as they happen |
"""

from __future__ import annotations

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


def live_topic(app_id: str, channel: str) -> str:
    """The pub/sub name that gateways listen on for this channel."""
    return _key(app_id, channel, "live")


def parse_live_topic(topic: str) -> tuple[str, str]:
    """The (app id, channel) of a pub/sub name. Raises: ValueError for a name of another form."""
    head, tail = f"{KEY_PREFIX}:{{", "}:live"
    if not (topic.startswith(head) and topic.endswith(tail)):
        msg = f"not a live topic: {topic!r}"
        raise ValueError(msg)
    app_id, _, channel = topic[len(head) : -len(tail)].partition(":")
    return app_id, channel


def control_topic(app_id: str) -> str:
    """The pub/sub name on which every gateway takes commands (terminate a user, drop a subscription)."""
    return f"{KEY_PREFIX}:{{{app_id}}}:control"


def grants_key(app_id: str, channel: str) -> str:
    """Who was authorized for this channel (sorted set): member `socket_id|user_id|session_id`, score Unix seconds."""
    return f"{KEY_PREFIX}:{{{app_id}}}:grants:{channel}"


def session_sockets_key(app_id: str, session_id: str) -> str:
    """The sockets that were authorized with one log-in session (set of socket ids)."""
    return f"{KEY_PREFIX}:{{{app_id}}}:session:{session_id}"


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much of a channel's past is kept: at most `length` events, none older than `age_seconds`.

    `meta_seconds` is how long the position itself outlives silence: while it lives, a client that missed nothing is
    told so even when the events are gone.
    """

    length: int = 1000
    age_seconds: int = 3600
    meta_seconds: int = 7 * 86400


PUBLISH_SCRIPT: Final = """
-- Append one event to a channel's history and announce it, once.
-- KEYS: log, meta, live topic, last (cache)
-- ARGV: event id, open frame, header, candidate epoch, now ms, length, age ms, meta ms, cache ms (0 = no cache)
-- Returns {1, epoch, offset} when published, {0, epoch, offset} when this id is already in history.
local seen = redis.call('HMGET', KEYS[2], 'e', 'o', 'i:' .. ARGV[1])
local epoch = seen[1]
if seen[3] then
  return {0, epoch, tonumber(seen[3])}
end
if not epoch then
  epoch = ARGV[4]
  redis.call('DEL', KEYS[1])
end
local offset = tonumber(seen[2] or '0') + 1
if offset > 1 and redis.call('EXISTS', KEYS[1]) == 0 then
  -- The history aged away in silence: forget its ids too, but the newest, which a late relay might repeat.
  local fields = redis.call('HGETALL', KEYS[2])
  for n = 1, #fields, 2 do
    if string.sub(fields[n], 1, 2) == 'i:' and tonumber(fields[n + 1]) < offset - 64 then
      redis.call('HDEL', KEYS[2], fields[n])
    end
  end
end
local message = offset .. ' ' .. epoch .. ' ' .. ARGV[3] .. '\\n'
  .. ARGV[2] .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. '}'
redis.call('HSET', KEYS[2], 'e', epoch, 'o', offset, 'i:' .. ARGV[1], offset)
redis.call('XADD', KEYS[1], offset .. '-0', 'i', ARGV[1], 't', ARGV[5], 'm', message)
-- Trim from the front: by length, then by age; a few at a time keeps every publish short.
local surplus = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[6])
local oldest = tonumber(ARGV[5]) - tonumber(ARGV[7])
local front = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.max(surplus, 2))
for n, entry in ipairs(front) do
  if n <= surplus or tonumber(entry[2][4]) < oldest then
    redis.call('XDEL', KEYS[1], entry[1])
    redis.call('HDEL', KEYS[2], 'i:' .. entry[2][2])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
if ARGV[9] ~= '0' then
  redis.call('SET', KEYS[4], message, 'PX', ARGV[9])
end
redis.call('PUBLISH', KEYS[3], message)
return {1, epoch, offset}
"""

SHARDED_PUBLISH_SCRIPT: Final = PUBLISH_SCRIPT.replace("'PUBLISH'", "'SPUBLISH'")
"""The same over sharded pub/sub (Redis 7+), which keeps an announcement inside the shard of its channel."""
