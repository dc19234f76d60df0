"""The bell: whatever breaks it, it rings again."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisAwayError
from sharedjox_api.doorbell import Doorbell

from tests.support.polling import eventually


class BreakingArq:
    """An arq client whose first ring fails."""

    def __init__(self, failure: Exception) -> None:
        self._failures = [failure]
        self.wakes = 0
        self.tasks = 0
        self.connection_pool = self

    async def publish(self, _topic: str, _message: bytes) -> None:
        if self._failures:
            raise self._failures.pop()
        self.wakes += 1

    async def enqueue_job(self, _name: str, **_options: Any) -> None:
        self.tasks += 1

    async def aclose(self) -> None:
        """Nothing to close."""

    async def disconnect(self) -> None:
        """Nothing to disconnect."""


@pytest.mark.parametrize(
    "failure",
    [
        RedisAwayError("away"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
)
async def test_a_ring_that_failed_is_rung_again_whatever_it_failed_of(failure: Exception) -> None:
    arq, registry = BreakingArq(failure), CollectorRegistry()
    bell = Doorbell(cast("Any", arq), registry)
    async with bell.running():
        bell.ring()
        await eventually(lambda: arq.wakes == 1 and arq.tasks == 1 and not bell.is_ringing)
        bell.ring()
        await eventually(lambda: arq.wakes == 2)
    assert registry.get_sample_value("sharedjox_api_doorbell_rings_total", {"outcome": "failed"}) == 1
