"""Which gateway processes are alive, and what each of them put into shared state.

A *node* is one life of one gateway process; its id is random. It renews its lease every few seconds. A lease that ran
out never comes back: a process that was frozen for longer takes a new id and registers everything again. So whatever
carries the id of a node without a lease may be removed by anybody, at any time, any number of times.

| name | type | holds |
|---|---|---|
| `sj:{nodes}:leases` | sorted set | node id, score = Unix milliseconds (Redis' clock) when its lease ends |
| `sj:{nodes}:held:<node>` | set | what the node registered: `<kind> <app> <name>`, written before the thing itself |
| `sj:{nodes}:sweep:<node>` | string | who is cleaning up behind this node |
"""

from __future__ import annotations

from typing import Final

from .redis_layout import KEY_PREFIX

LEASES_KEY: Final = f"{KEY_PREFIX}:{{nodes}}:leases"


def holdings_key(node: str) -> str:
    """What a node registered elsewhere."""
    return f"{KEY_PREFIX}:{{nodes}}:held:{node}"


def sweep_key(node: str) -> str:
    """The claim of whoever cleans up behind a node."""
    return f"{KEY_PREFIX}:{{nodes}}:sweep:{node}"


def encode_holding(kind: str, app_id: str, name: str) -> str:
    """One entry of a node's holdings; `kind` and `app_id` hold no space."""
    return f"{kind} {app_id} {name}"


def decode_holding(text: str) -> tuple[str, str, str]:
    """The (kind, app id, name) of an entry. Raises: ValueError for another form."""
    kind, app_id, name = text.split(" ", 2)
    return kind, app_id, name


HEARTBEAT_SCRIPT: Final = """
-- Take or renew a lease. KEYS: leases. ARGV: node, lease ms, '1' when the node is new.
-- Returns {1, live nodes, expired nodes}, or {0} when this node had a lease and lost it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '1' then
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if not ends or tonumber(ends) <= now then
    return {0}
  end
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return {1, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf'), redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)}
"""
