"""Every alert is raised by a fault that is really made, and is quiet before and after it.

The rules are those of alerts.yml in a hurry (`hurried_rules`). That windows, `for` and bounds are the right ones
for a real day is promtool's to say (test_alert_rules).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from tests.support.polling import eventually
from tests.support.stack import Stack, running_stack

from . import faults
from .files import alerts
from .prometheus import firing, hurried_rules, running_prometheus

Fault = Callable[[Stack], AbstractAsyncContextManager[None]]
RAISED: dict[Fault, set[str]] = {
    faults.locked_table: {"ApiSlow"},
    faults.postgres_away: {"ApiErrors"},
    faults.poisoned_row: {"OutboxParked"},
    faults.hanging_worker: {"DeliverySlow"},
    faults.killed_processes: {"TargetDown", "NoWorker", "FewGateways"},
    faults.no_room: {"GatewayFull", "ConnectionsRefused"},
    faults.slow_readers: {"SlowConsumers"},
    faults.busy_gateway: {"GatewaySaturated"},
    faults.broken_apps_file: {"AppsFileRefused"},
    faults.redis_away: {"OutboxStuck", "DoorbellFailing", "GatewayWithoutRedis"},
    faults.empty_redis: {"HistoryRepaired", "SocketsSentAway", "RecoveriesLost"},
}


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, extra_env=faults.SETTINGS | faults.apps_file(folder)) as stack:
        yield stack


@pytest.fixture(scope="module")
def prometheus_url(small_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(small_stack, folder, hurried_rules(folder)) as url:
        yield url


@pytest.mark.parametrize("fault", RAISED, ids=lambda one: one.__name__)
async def test_a_fault_raises_its_alerts(fault: Fault, small_stack: Stack, prometheus_url: str) -> None:
    expected = RAISED[fault]

    async def is_quiet() -> bool:
        return expected.isdisjoint(await firing(prometheus_url))

    async def is_raised() -> bool:
        raised = await firing(prometheus_url)
        assert expected <= raised, f"raised: {raised}"
        return True

    await eventually(is_quiet, 30, what=f"{expected} are quiet before the fault")
    async with fault(small_stack):
        await eventually(is_raised, 40, what=f"{expected} are raised")


async def test_afterwards_all_are_quiet(prometheus_url: str) -> None:
    async def is_quiet() -> bool:
        assert await firing(prometheus_url) == set()
        return True

    await eventually(is_quiet, 60, what="no alert fires once all faults are healed")


def test_every_alert_has_a_real_fault() -> None:
    assert {alert["alert"] for alert in alerts()} == set().union(*RAISED.values())
