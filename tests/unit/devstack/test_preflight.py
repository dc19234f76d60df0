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
    refused = rf"port {taken} is taken by .*\(pid {os.getpid()}\).* set {name.upper()} to"
    with pytest.raises(DevstackError, match=refused), preflight.chosen_ports(settings(**{name: taken}), print):
        pass


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("api_port", "reverb_port"), "API_PORT and REVERB_PORT are both"),
        (("postgres_port", "redis_port"), "REDIS_PORT: port {port} is used twice"),
    ],
)
def test_one_port_for_two_things_is_refused(names: tuple[str, str], told: str) -> None:
    port = free_port()
    with (
        pytest.raises(DevstackError, match=told.format(port=port)),
        preflight.chosen_ports(settings(**dict.fromkeys(names, port)), print),
    ):
        pass


def test_internal_port_that_nobody_asked_for_gives_way(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "WORKER_METRICS_PORT_DEFAULT", taken)
    said: list[str] = []
    with preflight.chosen_ports(settings(), said.append) as ports:
        assert ports.services.worker_metrics != taken
    assert any(f"port {taken} is taken by" in line and "WORKER_METRICS_PORT is" in line for line in said)


def test_two_stacks_that_start_together_get_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first listens nowhere yet: it makes its database. Once both are gone the defaults are free again."""
    defaults = {f"{name}_PORT_DEFAULT": free_port() for name in ("ADMIN", "WORKER_METRICS", "POSTGRES", "REDIS")}
    for name, port in defaults.items():
        monkeypatch.setattr(preflight, name, port)
    said: list[str] = []
    with preflight.chosen_ports(settings(), print) as first, preflight.chosen_ports(settings(), said.append) as second:
        assert set(defaults.values()) <= internal(first)
        assert not internal(first) & internal(second)
        assert f"port {first.redis} is taken by another process: REDIS_PORT is {second.redis} this time" in said
    with preflight.chosen_ports(settings(), print) as third:
        assert set(defaults.values()) <= internal(third)


def internal(ports: preflight.StackPorts) -> set[int | None]:
    return {ports.postgres, ports.redis, ports.services.worker_metrics, *ports.services.gateway_admin}


def test_a_port_that_a_starting_stack_was_told_to_use_is_refused() -> None:
    wanted = settings()
    refused = f"port {wanted.api_port} is taken by another stack that is just starting: .* set API_PORT to"
    with preflight.chosen_ports(wanted, print):
        other = settings(api_port=wanted.api_port)
        with pytest.raises(DevstackError, match=refused), preflight.chosen_ports(other, print):
            pass


def test_server_of_ones_own_takes_no_port() -> None:
    own = settings(database_url="postgresql://db/x", redis_url="redis://r")
    with preflight.chosen_ports(own, print) as ports:
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
