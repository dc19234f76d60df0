"""What every session with Postgres asks of the server."""

from __future__ import annotations

from typing import Final

LINK_SETTINGS: Final = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "idle_in_transaction_session_timeout": "30000",
}
"""Locks of a client that vanished (no power, no network) are free again within half a minute; by the kernel's own
settings the server would ask after it only in two hours, and a relay's shards would stand still that long."""
