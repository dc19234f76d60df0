"""What the gateway does beside its connections: keeping time, its lease, its connection to Redis."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from sharedjox_devstack.ports import free_port
from sharedjox_gateway.gateway import Gateway
from sharedjox_gateway.settings import GatewaySettings
from structlog.testing import capture_logs

from tests.support.polling import scaled


async def test_a_gateway_that_lost_a_part_says_so_and_ends_instead_of_seeming_to_live() -> None:
    gateway = Gateway(GatewaySettings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    # Nothing that a heartbeat can look after: what a mistake of ours might leave behind.
    gateway.hub.connections["1.1"] = cast("Any", object())
    with capture_logs() as logs:
        gateway.start()
        async with asyncio.timeout(scaled(20)):
            await gateway.told_to_drain.wait()
        gateway.hub.connections.clear()
        await gateway.stop()
    (failure,) = [line for line in logs if line["event"] == "gateway.part_failed"]
    assert (failure["part"], failure["log_level"]) == ("clock", "error")
    assert isinstance(failure["exc_info"], AttributeError)


async def test_a_gateway_that_stops_has_lost_nothing() -> None:
    gateway = Gateway(GatewaySettings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    with capture_logs() as logs:
        gateway.start()
        await asyncio.sleep(0)
        await gateway.stop()
    assert not gateway.told_to_drain.is_set()
    assert "gateway.part_failed" not in [line["event"] for line in logs]
