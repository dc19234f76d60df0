r"""Presence: who is on a channel, one truth for all gateways, changed by one script.

| name | type | holds |
|---|---|---|
| `sj:{app:channel}:members` | hash | user id: `,<node>,<node>,\n<user_info>`; the empty field: `<epoch> <version>` |

A member is a user id, whatever the number of tabs; the nodes listed are those that hold at least one connection of it.
Every change has a version, 1, 2, 3, … within an epoch that begins with the first member and ends with the last.

Changes are announced inside the script on the channel's live topic, as a transient publication whose header carries
`v`: `<epoch> <version>`, and whose body is the `data` of `member_added` or `member_removed`. Gateways keep a copy of
the roster and apply the changes in order; a hole in the versions tells them to read it again.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct

from .redis_layout import KEY_PREFIX
from .webhook_layout import WEBHOOK_FUNCTIONS

MEMBER_ADDED: Final = "pusher_internal:member_added"
MEMBER_REMOVED: Final = "pusher_internal:member_removed"

JOIN: Final = "j"
"""Operation: this node holds the user, if the limit allows."""
KEEP: Final = "k"
"""Operation: this node holds the user and did so before; the limit does not count."""
LEAVE: Final = "l"
"""Operation: this node holds the user no more."""
DROP: Final = "d"
"""Operation: the node named in place of the user is dead."""

SNAPSHOT: Final = "s"
"""Flag: answer the members as well."""
EXACT: Final = "x"
"""Flag: users that this node holds by Redis' account but that are not among the operations leave."""
WEBHOOKS: Final = "w"
"""Flag: queue webhook events."""


def members_key(app_id: str, channel: str) -> str:
    """Who is on a presence channel."""
    return f"{KEY_PREFIX}:{{{app_id}:{channel}}}:members"


class MemberData(Struct, frozen=True):
    """The `data` of `member_added` (with `user_info`, which may be null) and `member_removed` (without)."""

    user_id: str
    user_info: Raw = Raw(b"")


class RosterEntry(Struct, frozen=True):
    """One member as Redis has it. `info` is JSON."""

    user_id: str
    info: bytes
    nodes: frozenset[str]


def decode_roster(fields: list[bytes]) -> list[RosterEntry]:
    """The members in a snapshot (alternating fields and values of the hash)."""
    entries = []
    for user_id, value in zip(fields[::2], fields[1::2], strict=True):
        if user_id:
            nodes, _, info = value.partition(b"\n")
            entries.append(RosterEntry(user_id.decode(), info, frozenset(nodes.decode().strip(",").split(","))))
    return entries


PRESENCE_SCRIPT: Final = (
    WEBHOOK_FUNCTIONS
    + """
-- KEYS: members, live topic, webhook queue, webhook held
-- ARGV: channel, node, candidate epoch, member limit, flags, then operation, user, user_info of each change
-- Returns {epoch, version, {1 or 0 (channel full) for each operation}, snapshot or nil}.
local members, topic, channel, node = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local limit, flags = tonumber(ARGV[4]), ARGV[5]
local tells = string.find(flags, 'w', 1, true)
local head = redis.call('HGET', members, '')
local epoch, version, count = ARGV[3], 0, 0
if head then
  local space = string.find(head, ' ', 1, true)
  epoch, version = string.sub(head, 1, space - 1), tonumber(string.sub(head, space + 1))
  count = redis.call('HLEN', members) - 1
end
local begun = version

local function announce(event, data)
  version = version + 1
  redis.call('PUBLISH', topic,
    '0 - {"e":"pusher_internal:' .. event .. '","v":"' .. epoch .. ' ' .. version .. '"}\\n' .. data)
end

local function join(user, info, may_be_full)
  local value = redis.call('HGET', members, user)
  if value then
    local cut = string.find(value, '\\n', 1, true)
    local nodes = string.sub(value, 1, cut - 1)
    if not string.find(nodes, ',' .. node .. ',', 1, true) then
      redis.call('HSET', members, user, nodes .. node .. ',' .. string.sub(value, cut))
    end
    return 1
  end
  if count >= limit and not may_be_full then
    return 0
  end
  count = count + 1
  redis.call('HSET', members, user, ',' .. node .. ',\\n' .. info)
  announce('member_added', '{"user_id":' .. cjson.encode(user) .. ',"user_info":' .. info .. '}')
  if tells then
    webhook_came(KEYS[3], KEYS[4], webhook_text('member_added', channel, user),
      webhook_text('member_removed', channel, user))
  end
  return 1
end

local function leave(user, value, who)
  local cut = string.find(value, '\\n', 1, true)
  local first, last = string.find(value, ',' .. who .. ',', 1, true)
  if not first or first > cut then
    return
  end
  local nodes = string.sub(value, 1, first) .. string.sub(value, last + 1, cut - 1)
  if nodes ~= ',' then
    redis.call('HSET', members, user, nodes .. string.sub(value, cut))
    return
  end
  count = count - 1
  redis.call('HDEL', members, user)
  announce('member_removed', '{"user_id":' .. cjson.encode(user) .. '}')
  if tells then
    webhook_went(KEYS[4], webhook_text('member_removed', channel, user))
  end
end

local function leave_all(who, kept)
  local fields = redis.call('HGETALL', members)
  for n = 1, #fields, 2 do
    if fields[n] ~= '' and not kept[fields[n]] then
      leave(fields[n], fields[n + 1], who)
    end
  end
end

local results, kept = {}, {}
for n = 6, #ARGV, 3 do
  local operation, user, result = ARGV[n], ARGV[n + 1], 1
  if operation == 'j' or operation == 'k' then
    result = join(user, ARGV[n + 2], operation == 'k')
    kept[user] = true
  elseif operation == 'l' then
    local value = redis.call('HGET', members, user)
    if value then
      leave(user, value, node)
    end
  elseif operation == 'd' then
    leave_all(user, {})
  end
  results[#results + 1] = result
end
if string.find(flags, 'x', 1, true) then
  leave_all(node, kept)
end
if version ~= begun then
  if count == 0 then
    redis.call('DEL', members)
  else
    redis.call('HSET', members, '', epoch .. ' ' .. version)
  end
end
return {epoch, version, results, string.find(flags, 's', 1, true) and redis.call('HGETALL', members) or false}
"""
)
