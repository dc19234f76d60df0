"""The fault harness, short: see `chaos.py` for what is broken and what must hold."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.avalanche import run_avalanche
from tests.faults.chaos import run_chaos
from tests.faults.jitter import run_jitter
from tests.faults.rolling import run_rolling

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))


async def test_nothing_is_lost_doubled_reordered_or_leaked_whatever_breaks(tmp_path: Path) -> None:
    outcome = await run_chaos(tmp_path, seed=SEED, faults=16, clients=40, pace=0.4)
    assert outcome.problems == [], (
        f"{outcome}; replay: python -m tests.faults.chaos --faults 16 --clients 40 --pace 0.4 --seed {SEED}"
    )
    assert outcome.settled.verdict.events > 30, "the load went on between the faults"
    assert outcome.settled.verdict.reconnects > 0, "the clients felt the faults"


async def test_clients_that_lose_their_network_again_and_again_miss_nothing(tmp_path: Path, redis_url: str) -> None:
    report = await run_jitter(tmp_path, redis_url, clients=60, seconds=8, seed=SEED)
    assert (report.incomplete, report.told_lost) == (0, 0), report.figures()
    assert report.drops > 20


async def test_a_rolling_restart_loses_nothing_and_everybody_is_back(tmp_path: Path) -> None:
    outcome = await run_rolling(tmp_path, seed=SEED, clients=30, gateways=2, workers=1, drain_seconds=0.5)
    assert outcome.problems == []
    assert outcome.never_moved == 0
    assert outcome.settled.verdict.events > 0, "the load went on between the restarts"
    assert len(outcome.away_seconds) >= 30


async def test_an_avalanche_is_recovered_with_few_reads_of_history(tmp_path: Path, redis_url: str) -> None:
    outcome = await run_avalanche(tmp_path, redis_url, seed=SEED, clients=300, gateways=2, missed=5)
    assert outcome.verdict.problems == []
    assert (outcome.verdict.told_lost, outcome.verdict.reconnects) == (0, 300)
    assert outcome.commands["exec"] <= 3 * outcome.places, "not one for each of 600 subscriptions"
