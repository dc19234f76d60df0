"""`sharedjox connections` and `sharedjox channels`: who is on, where, over the whole cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from sharedjox_contracts.count_layout import CONNECTIONS_FIELD, totals_key
from sharedjox_contracts.redis_layout import log_key, meta_key
from sharedjox_kit.processes import SeenReport, read_reports

from .tables import table

_SCAN_COUNT: Final = 1000

ServerOf = Callable[[str, str], Redis]
"""The server that has the history of (app id, channel)."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel: its subscribers over all gateways, the events in its history, the offset of the newest one."""

    name: str
    connections: int
    history: int
    offset: int


async def show_connections(redis: Redis, app_ids: Sequence[str]) -> str:
    """A line for each process, then each app's connections as the cluster counts them."""
    seen = await read_reports(redis)
    gateways = [one for one in seen if one.report.service == "gateway"]
    apps = {app_id for one in gateways for app_id in one.report.apps} | set(app_ids)
    totals = [[app_id, await _app_connections(redis, app_id)] for app_id in sorted(apps)]
    return "\n".join(
        [
            table(
                ["process", "version", "connections", "of", "subscriptions", "channels", "clock ms", ""],
                [_line(one) for one in seen],
            ),
            "",
            table(["app", "connections"], totals),
        ]
    )


def _line(seen: SeenReport) -> list[object]:
    report, state = seen.report, seen.report.state
    names = ("connections", "connection_limit", "subscriptions", "channels")
    return [
        f"{report.service} {report.id}",
        report.version,
        *(state.get(name, "") for name in names),
        f"{seen.skew_ms:+d}",
        "draining" if state.get("draining") else "",
    ]


async def _app_connections(redis: Redis, app_id: str) -> int:
    total: bytes | None = await redis.hget(totals_key(app_id), CONNECTIONS_FIELD)  # type: ignore[misc]  # sync and async share stubs
    return int(total or 0)


async def busiest_channels(
    redis: Redis, server_of: ServerOf, app_id: str, prefix: str, limit: int
) -> tuple[list[ChannelState], int]:
    """The `limit` channels with most subscribers whose names begin with `prefix`, and how many such channels there are.

    Names that are no channels of the application (`#server-to-user-…`) are left out.
    """
    counted: dict[str, int] = {}
    async for field, total in redis.hscan_iter(totals_key(app_id), count=_SCAN_COUNT):
        name = field.decode()
        if name.startswith(prefix) and name[:1] not in (CONNECTIONS_FIELD, "#") and int(total) > 0:
            counted[name] = int(total)
    chosen = sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:limit]
    return [await _state_of(server_of(app_id, name), app_id, name, total) for name, total in chosen], len(counted)


async def _state_of(redis: Redis, app_id: str, name: str, connections: int) -> ChannelState:
    history = await redis.xlen(log_key(app_id, name))
    offset: bytes | None = await redis.hget(meta_key(app_id, name), "o")  # type: ignore[misc]  # sync and async share stubs
    return ChannelState(name, connections, history, int(offset or 0))


async def show_channels(redis: Redis, server_of: ServerOf, app_id: str, prefix: str, limit: int) -> str:
    """A line for each of the busiest channels."""
    found, total = await busiest_channels(redis, server_of, app_id, prefix, limit)
    lines = [[one.name, one.connections, one.history, one.offset] for one in found]
    shown = table(["channel", "connections", "history", "offset"], lines)
    return shown if len(found) == total else f"{shown}\n… {total - len(found)} more: --limit, --prefix"
