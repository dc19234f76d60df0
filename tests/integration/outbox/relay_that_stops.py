"""A relay that stops itself (SIGSTOP) once Redis has answered, before it marks its rows. Run by test_relay_outages."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from prometheus_client import CollectorRegistry
from sharedjox_contracts.events import Payload
from sharedjox_contracts.redis_layout import HistoryLimits
from sharedjox_kit.redis import create_redis
from sharedjox_outbox.claims import Row
from sharedjox_outbox.metrics import RelayMetrics
from sharedjox_outbox.postgres import create_relay_pool
from sharedjox_outbox.preparation import EventStep, Preparer
from sharedjox_outbox.publisher import EventPublisher, StepResult
from sharedjox_outbox.relay import Relay


class StoppingPublisher(EventPublisher):
    """Publishes as always, and freezes its process with the answer in hand."""

    async def publish(self, steps: Sequence[EventStep], *, repeating: bool = False) -> list[StepResult]:
        """Publish, then stop."""
        results = await super().publish(steps, repeating=repeating)
        os.kill(os.getpid(), signal.SIGSTOP)
        return results


async def no_control(_row: Row, _payload: Payload) -> None:
    """There are no control rows in this test."""


async def main(database_url: str, redis_url: str) -> None:
    """Relay once."""
    redis = create_redis(redis_url, retries=0)
    limits = HistoryLimits()
    relay = Relay(
        pool=await create_relay_pool(database_url),
        publisher=StoppingPublisher(redis, app_id="1001"),
        preparer=Preparer(lambda _channel: limits, max_data_bytes=65536),
        on_control=no_control,
        metrics=RelayMetrics(CollectorRegistry()),
    )
    await relay.drain()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
