"""Which ports a stack takes, and what it says of those it cannot have."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sharedjox_devstack import preflight
from sharedjox_devstack.errors import DevstackError
from sharedjox_devstack.ports import free_port
from sharedjox_devstack.settings import Environment, StackSettings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def settings(**wanted: object) -> StackSettings:
    ports = {"api_port": free_port(), "reverb_port": free_port()}
    return StackSettings.model_validate(ports | wanted)


@pytest.mark.parametrize(
    "name", ["api_port", "reverb_port", "worker_metrics_port", "gateway_admin_port", "postgres_port", "redis_port"]
)
def test_asked_for_port_that_is_taken_is_refused(name: str, taken: int) -> None:
    with pytest.raises(
        DevstackError, match=rf"port {taken} is taken by .*\(pid {os.getpid()}\).* set {name.upper()} to"
    ):
        preflight.choose_ports(settings(**{name: taken}), print)


def test_one_port_for_two_things_is_refused() -> None:
    port = free_port()
    with pytest.raises(DevstackError, match="API_PORT and REVERB_PORT are both"):
        preflight.choose_ports(settings(api_port=port, reverb_port=port), print)
    with pytest.raises(DevstackError, match=f"REDIS_PORT: port {port} is used twice"):
        preflight.choose_ports(settings(postgres_port=port, redis_port=port), print)


def test_internal_port_that_nobody_asked_for_gives_way(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "WORKER_METRICS_PORT_DEFAULT", taken)
    said: list[str] = []
    ports = preflight.choose_ports(settings(), said.append)
    assert ports.services.worker_metrics != taken
    assert any(f"port {taken} is taken by" in line and "WORKER_METRICS_PORT is" in line for line in said)


def test_server_of_ones_own_takes_no_port() -> None:
    ports = preflight.choose_ports(settings(database_url="postgresql://db/x", redis_url="redis://r"), print)
    assert ports.postgres is None
    assert ports.redis is None


def test_every_bad_setting_has_a_line() -> None:
    environment = Environment({"API_PORT": "0", "REVERB_PORT": "x", "WEB_BUILD": "perhaps"})
    with pytest.raises(DevstackError) as refused:
        environment.settings()
    lines = str(refused.value).splitlines()
    assert [line.split("=")[0] for line in lines] == [
        "bad setting API_PORT",
        "bad setting REVERB_PORT",
        "bad setting WEB_BUILD",
    ]


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("API_PORT=7001\nREVERB_PORT=7002\n", encoding="utf-8")
    monkeypatch.setenv("API_PORT", "7003")
    monkeypatch.delenv("REVERB_PORT", raising=False)
    read = Environment.read(tmp_path).settings()
    assert (read.api_port, read.reverb_port) == (7003, 7002)


def test_empty_setting_means_the_default() -> None:
    assert Environment({"API_PORT": "", "DATABASE_URL": ""}).settings().api_port == 8000
