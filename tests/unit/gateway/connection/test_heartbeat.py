"""Visits at the ping interval, however few connections there are."""

from __future__ import annotations

from typing import Any

import pytest
from sharedjox_gateway.heartbeat import TICK_SECONDS, Heartbeat
from sharedjox_gateway.protocol.close_codes import PusherError

INTERVAL = 5.0


class SilentConnection:
    """Says nothing; notes when it is pinged and refused."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock
        self.opened_at = 0.0
        self.is_alive = True
        self.is_pinged = False
        self.is_closing = False
        self.pinged_at = 0.0
        self.refused_at = 0.0
        self.refused: PusherError | None = None

    def ping(self) -> None:
        self.is_pinged = True
        self.pinged_at = self.clock[0]

    def refuse(self, error: PusherError) -> None:
        self.is_closing = True
        self.refused = error
        self.refused_at = self.clock[0]


@pytest.mark.parametrize("count", [1, 7, 100])
async def test_silent_connections_have_a_whole_interval_to_answer(count: int) -> None:
    clock = [0.0]
    connections: dict[str, Any] = {str(number): SilentConnection(clock) for number in range(count)}
    heartbeat = Heartbeat(
        connections,
        ping_interval_seconds=INTERVAL,
        handshake_timeout_seconds=10,
        close_timeout_seconds=5,
        lifetime_seconds=1000,
        now=lambda: clock[0],
    )
    while clock[0] < 4 * INTERVAL:
        clock[0] += TICK_SECONDS
        heartbeat.tick()
    for connection in connections.values():
        assert connection.refused is PusherError.PONG_TIMEOUT
        assert connection.pinged_at >= INTERVAL
        assert connection.refused_at - connection.pinged_at == pytest.approx(INTERVAL)
