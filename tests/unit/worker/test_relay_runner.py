"""The loop around the relay, with a relay that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sharedjox_outbox.relay import ComeBack, Idle, NextRun
from sharedjox_worker.relay_runner import RelayRunner

from tests.support.polling import eventually, scaled


class ScriptedRelay:
    """Answers with the given results, then Idle; `gate` holds a run up."""

    def __init__(self, *results: NextRun | Exception) -> None:
        self.results = list(results)
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_stopping = False

    async def drain(self) -> NextRun:
        self.runs += 1
        await self.gate.wait()
        result = self.results.pop(0) if self.results else Idle()
        if isinstance(result, Exception):
            raise result
        return result

    def request_stop(self) -> None:
        self.is_stopping = True


@asynccontextmanager
async def running(relay: ScriptedRelay, *, sweep_seconds: float = 60) -> AsyncIterator[RelayRunner]:
    runner = RelayRunner(relay, sweep_seconds=sweep_seconds)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        relay.gate.set()
        runner.stop()
        await asyncio.wait_for(task, scaled(5))


async def test_runs_at_the_start_and_on_every_bell() -> None:
    relay = ScriptedRelay()
    async with running(relay) as runner:
        await eventually(lambda: relay.runs == 1)
        await runner.ring_and_wait()
        assert relay.runs == 2


async def test_bells_during_a_run_lead_to_one_more() -> None:
    relay = ScriptedRelay()
    async with running(relay) as runner:
        await eventually(lambda: relay.runs == 1)
        relay.gate.clear()
        runner.ring()
        await eventually(lambda: relay.runs == 2)
        waiting = [asyncio.create_task(runner.ring_and_wait()) for _ in range(50)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting), "the run under way began before them"
        relay.gate.set()
        await asyncio.wait_for(asyncio.gather(*waiting), scaled(5))
        assert relay.runs == 3


async def test_sweeps_without_bells() -> None:
    relay = ScriptedRelay()
    async with running(relay, sweep_seconds=0.01):
        await eventually(lambda: relay.runs >= 5)


async def test_comes_back_when_told_and_not_before_whoever_rings() -> None:
    relay = ScriptedRelay(ComeBack(0.2, "away"))
    async with running(relay) as runner:
        await eventually(lambda: relay.runs == 1)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.wait_for(runner.ring_and_wait(), scaled(5))
        assert loop.time() - started > 0.1
        assert relay.runs == 2


async def test_outlives_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    relay = ScriptedRelay(ZeroDivisionError("a mistake"))
    async with running(relay) as runner:
        await asyncio.wait_for(runner.ring_and_wait(), scaled(5))
        assert relay.runs == 2


async def test_stopping_asks_the_relay_to_end_after_its_batch() -> None:
    relay = ScriptedRelay()
    async with running(relay) as runner:
        await eventually(lambda: relay.runs == 1)
        runner.stop()
        assert relay.is_stopping
