"""Who is signed in anywhere in the cluster.

| name | type | holds |
|---|---|---|
| `sj:{app}:online` | hash | user id: `,<node>,<node>,` the nodes with at least one signed-in connection |
| `sj:{app}:online:<node>` | set | the users of one node, for whoever cleans up behind it |

First and last sign-ins are announced on the control topic as `control.UserState`. Their versions are microseconds of
Redis' clock: of two things known about a user the one with the higher version is right.
"""

from __future__ import annotations

from typing import Final

from .redis_layout import KEY_PREFIX


def online_key(app_id: str) -> str:
    """All signed-in users."""
    return f"{KEY_PREFIX}:{{{app_id}}}:online"


def node_users_key(app_id: str, node: str) -> str:
    """The signed-in users of one node."""
    return f"{KEY_PREFIX}:{{{app_id}}}:online:{node}"


_FUNCTIONS: Final = """
local time = redis.call('TIME')
local version = string.format('%.0f', time[1] * 1000000 + time[2])
local function announce(topic, user, is_online)
  redis.call('PUBLISH', topic, '{"op":"user_state","userId":' .. cjson.encode(user) ..
    ',"isOnline":' .. is_online .. ',"version":' .. version .. '}')
end
local function remove(online, topic, node, user)
  local nodes = redis.call('HGET', online, user)
  local first, last = string.find(nodes or '', ',' .. node .. ',', 1, true)
  if not first then
    return
  end
  nodes = string.sub(nodes, 1, first) .. string.sub(nodes, last + 1)
  if nodes == ',' then
    redis.call('HDEL', online, user)
    announce(topic, user, 'false')
  else
    redis.call('HSET', online, user, nodes)
  end
end
"""

ONLINE_SCRIPT: Final = (
    _FUNCTIONS
    + """
-- KEYS: online, the node's users. ARGV: control topic, node, then '+' or '-' and user; no user twice in one call.
for n = 3, #ARGV, 2 do
  local user = ARGV[n + 1]
  if ARGV[n] == '-' then
    remove(KEYS[1], ARGV[1], ARGV[2], user)
    redis.call('SREM', KEYS[2], user)
  else
    local nodes = redis.call('HGET', KEYS[1], user)
    if not nodes then
      redis.call('HSET', KEYS[1], user, ',' .. ARGV[2] .. ',')
      announce(ARGV[1], user, 'true')
    elseif not string.find(nodes, ',' .. ARGV[2] .. ',', 1, true) then
      redis.call('HSET', KEYS[1], user, nodes .. ARGV[2] .. ',')
    end
    redis.call('SADD', KEYS[2], user)
  end
end
return 1
"""
)

DROP_USERS_SCRIPT: Final = (
    _FUNCTIONS
    + """
-- Take away some users of a dead node. KEYS: online, the node's users. ARGV: control topic, node, how many.
-- Returns how many are left.
for _, user in ipairs(redis.call('SRANDMEMBER', KEYS[2], ARGV[3])) do
  remove(KEYS[1], ARGV[1], ARGV[2], user)
  redis.call('SREM', KEYS[2], user)
end
return redis.call('SCARD', KEYS[2])
"""
)

READ_ONLINE_SCRIPT: Final = """
-- KEYS: online. ARGV: users. Returns {version, 1 or 0 for each user}.
local time = redis.call('TIME')
local answer = {string.format('%.0f', time[1] * 1000000 + time[2])}
for n, nodes in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV))) do
  answer[n + 1] = nodes and 1 or 0
end
return answer
"""
USERS_PER_CALL: Final = 200
"""For all three: a call stays below a millisecond."""
