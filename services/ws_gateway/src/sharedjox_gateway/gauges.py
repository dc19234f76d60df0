"""What a process is at this moment, in numbers: for Prometheus, and for operators at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gateway import Gateway


def state(gateway: Gateway) -> dict[str, int]:
    """What operators see of this process at a glance."""
    return {
        "connections": len(gateway.hub.connections),
        "connection_limit": gateway.connection_limit,
        "subscriptions": gateway.stats.subscriptions,
        "channels": gateway.hub.channel_count,
        "draining": int(gateway.is_draining),
    }


def gauges(gateway: Gateway) -> dict[str, float]:
    """Gauges for `metrics`."""
    cluster = gateway.cluster
    return {
        **state(gateway),
        "buffer_bytes": sum(
            connection.transport.get_write_buffer_size() for connection in gateway.hub.connections.values()
        ),
        "presence_channels": len(gateway.presence),
        "signed_in_users": gateway.users.count,
        "nodes_swept": gateway.lease.swept,
        "api_connections": len(gateway.api_connections.open),
        "handshakes": len(gateway.heartbeat.entries),
        "xhr_sessions": len(gateway.xhr),
        "redis_connected": float(gateway.broker.is_connected),
        "channel_servers": cluster.nodes if cluster is not None else 1,
        "channel_servers_connected": (
            cluster.nodes_connected if cluster is not None else int(gateway.redis.is_connected)
        ),
        "apps_file_refused": float(gateway.apps_file.is_refused),
    }
