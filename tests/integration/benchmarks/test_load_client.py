"""A small run of the benchmarks: the checker notices every fault, and the real gateway makes none."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.redis import EmbeddedRedis

from tests.benchmarks import servers
from tests.benchmarks.load_client.client import LoadClient, LoadFailedError
from tests.benchmarks.load_client.compiler import NoCompilerError, find_compiler
from tests.benchmarks.load_client.results import Result
from tests.benchmarks.scenarios import Flood, Idle, Rate, Scenario, StartServer, run_scenarios, run_side_by_side
from tests.benchmarks.servers import Server


def flood_baseline(folder: Path, fault: str) -> Result:
    with (
        servers.baseline(folder, channel="bench", fault=fault) as server,
        LoadClient(server.options, server.pids, connections=20) as client,
    ):
        assert client.connect()["connections"] == 20
        return client.flood(4, 0.3)


def test_a_clean_run_counts(tmp_path: Path) -> None:
    result = flood_baseline(tmp_path, "")
    assert result["ok"]
    assert result["received"] == result["published"] * 20 > 0
    assert result["latency"]["count"] > 0


@pytest.mark.parametrize(("fault", "counter"), [("drop", "missing"), ("double", "doubled"), ("swap", "swapped")])
def test_one_fault_on_each_connection_fails_the_run(tmp_path: Path, fault: str, counter: str) -> None:
    result = flood_baseline(tmp_path, fault)
    assert not result["ok"]
    assert {name: result[name] for name in ("missing", "doubled", "swapped")} == {
        "missing": 0, "doubled": 0, "swapped": 0, counter: 20,
    }  # fmt: skip


def test_only_the_active_channels_get_messages(tmp_path: Path) -> None:
    """The server spoils one message on each connection that gets any, each on a channel of its own."""
    with servers.baseline(tmp_path, channel="bench.%d", fault="double") as server:
        result = run_scenarios(server, 20, [Flood("flood", 8, 0.3)], channels=20, active=3)["flood"]
    assert (result["doubled"], result["missing"], result["swapped"]) == (3, 0, 0)


def test_a_server_that_dies_fails_the_run(tmp_path: Path) -> None:
    with (
        servers.baseline(tmp_path, channel="bench") as server,
        LoadClient(server.options, server.pids, connections=3) as client,
    ):
        client.connect()
        os.kill(server.pids[0], signal.SIGKILL)
        with pytest.raises(LoadFailedError):
            client.flood(1, 0.3)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NoCompilerError, match="no C compiler"):
        find_compiler()


@pytest.mark.parametrize("is_native", ["true", "false"])
def test_the_gateway_delivers_everything_once_and_in_order(
    tmp_path: Path, redis_server: EmbeddedRedis, is_native: str
) -> None:
    env = {"GATEWAY_NATIVE": is_native}
    with servers.gateway(tmp_path, redis_server, channel="private-bench", extra_env=env) as server:
        results = run_scenarios(
            server,
            100,
            [
                Flood("burst", 16, 0.4),
                Idle("idle", 0.4, probe_ms=20),
                Rate("rate", 200, 0.4, probe_ms=20),
                Rate("slow", 200, 0.4, stalled=3),
            ],
        )
    assert results["connect"]["connections"] == 100
    assert [results[name]["ok"] for name in ("burst", "idle", "rate", "slow")] == [True] * 4
    assert min(results[name]["probe"]["count"] for name in ("idle", "rate")) > 0
    assert results["idle"]["published"] == 0


def test_servers_side_by_side_are_all_measured_and_one_that_refuses_stops_no_other(
    tmp_path: Path, redis_server: EmbeddedRedis
) -> None:
    @contextlib.contextmanager
    def refusing() -> Iterator[Server]:
        with servers.baseline(tmp_path, channel="bench") as server:
            yield Server("refusing", [], server.pids, [*server.options, "--ports", str(free_port())])

    kinds: dict[str, StartServer] = {
        "gateway": lambda: servers.gateway(tmp_path, redis_server, channel="private-bench"),
        "refusing": refusing,
        "c": lambda: servers.baseline(tmp_path, channel="bench"),
    }
    scenarios: list[Scenario] = [Flood("burst", 8, 0.2, turns=2), Rate("rate", 100, 0.4, turns=2, is_undisturbed=True)]
    found = run_side_by_side(kinds, 20, scenarios, skipped=lambda kind, each: kind == "c" and isinstance(each, Rate))
    assert {kind: sorted(results) for kind, results in found.items()} == {
        "gateway": ["burst", "connect", "rate"],
        "refusing": [],
        "c": ["burst", "connect"],
    }
    assert all(found[kind]["burst"]["ok"] for kind in ("gateway", "c"))
    rate = found["gateway"]["rate"]
    assert rate["ok"]
    assert rate["seconds"] >= 0.4
    assert rate["latency"]["count"] > 0.7 * 0.4 * 100 * 20, "more than one of the two turns has"


def test_every_connection_on_a_channel_of_its_own(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    with servers.gateway(tmp_path, redis_server, channel="private-user.%d") as server:
        results = run_scenarios(server, 50, [Flood("single", 32, 0.4)], channels=50)
        with LoadClient([*server.options, "--channels", "50"], server.pids, connections=50) as client:
            client.connect()
            churn = client.churn(0.4)
    assert results["single"]["ok"]
    assert churn["churned"] > 0
    assert churn["closed"] == 0
