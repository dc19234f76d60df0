"""Where the Redis that takes writes is: at its address, or where Sentinels say."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import hiredis
from sharedjox_kit.redis_address import RedisAddress

from .resp import RespConnection, connect

_ASK_SECONDS: Final = 1.0


class NoMasterError(ConnectionError):
    """No Sentinel knows a master that takes writes."""


async def find_master(address: RedisAddress) -> RedisAddress:
    """The address to connect to now: `address` itself, unless Sentinels are to be asked. The first that knows decides.

    Raises: NoMasterError.
    """
    if not address.sentinels:
        return address
    reasons: list[str] = []
    for host, port in address.sentinels:
        asked = RedisAddress(host, port, username=address.sentinel_username, password=address.sentinel_password)
        try:
            sentinel = await connect(asked, lambda _reply: None, lambda: None, timeout_seconds=_ASK_SECONDS)
            found = await _ask(sentinel, address.master)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            reasons.append(f"{host}:{port}: {error or type(error).__name__}")
            continue
        if found is not None:
            return replace(address, host=found[0], port=found[1], sentinels=())
        reasons.append(f"{host}:{port} knows no {address.master}")
    msg = f"no Sentinel leads to a master ({'; '.join(reasons)})"
    raise NoMasterError(msg)


async def _ask(sentinel: RespConnection, master: str) -> tuple[str, int] | None:
    try:
        reply = await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
    finally:
        sentinel.abort()
    return (reply[0].decode(), int(reply[1])) if isinstance(reply, list) else None


async def check_is_master(connection: RespConnection) -> None:
    """Leave a node that is a replica by now, or still: a failover is under way. Raises: NoMasterError."""
    role = await connection.call("ROLE")
    if role[0] != b"master":
        connection.abort()
        msg = "the node that Sentinels name is a replica"
        raise NoMasterError(msg)
