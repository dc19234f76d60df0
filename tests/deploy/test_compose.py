"""docker-compose.yml keeps what the pages promise. Nothing is started here; tests/compose does that."""

from __future__ import annotations

from typing import Any

import pytest

from .rendered import compose

RENDERED = compose("docker-compose.yml")
OURS = [name for name, one in RENDERED["services"].items() if one["image"].startswith("sharedjox/") and "build" in one]
RUNNING = ["api", "worker", "gateway-1", "gateway-2"]


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RENDERED["services"][name]
    return found


@pytest.mark.parametrize("profiles", ["", "test", "observability", "test,observability"])
def test_every_combination_of_profiles_is_valid(profiles: str) -> None:
    assert compose("docker-compose.yml", profiles=profiles)["services"]


@pytest.mark.parametrize("name", RUNNING)
def test_services_run_read_only_without_capabilities(name: str) -> None:
    one = service(name)
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])


@pytest.mark.parametrize("name", RUNNING)
def test_services_wait_for_what_they_need(name: str) -> None:
    assert service(name)["depends_on"]["redis"]["condition"] == "service_healthy"


def test_only_the_balancer_is_reachable_from_outside() -> None:
    assert {name for name, one in RENDERED["services"].items() if "ports" in one} == {
        "balancer",
        "prometheus",
        "grafana",
    }
    for name in ("prometheus", "grafana"):
        assert [port["host_ip"] for port in service(name)["ports"]] == ["127.0.0.1"]


def test_the_databases_are_not_on_the_balancers_network() -> None:
    on_edge = {name for name, one in RENDERED["services"].items() if "edge" in one.get("networks", {})}
    assert on_edge & {"postgres", "redis"} == set()


def test_services_trust_the_balancers_address_alone() -> None:
    address = service("balancer")["networks"]["edge"]["ipv4_address"]
    for name in ("api", "gateway-1", "gateway-2"):
        assert service(name)["environment"]["TRUSTED_PROXIES"] == address


@pytest.mark.parametrize("name", ["gateway-1", "gateway-2"])
def test_gateways_tell_each_other_where_they_are(name: str) -> None:
    settings = service(name)["environment"]
    assert (settings["GATEWAY_INTERNAL_HOST"], settings["GATEWAY_INTERNAL_PORT"]) == (name, "8082")


def test_a_gateway_is_given_time_to_drain() -> None:
    one = service("gateway-1")
    assert _seconds(one["stop_grace_period"]) >= float(one["environment"]["DRAIN_SECONDS"]) + 5 + 2 + 5


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


# --- with PgBouncer ---------------------------------------------------------------------------------------------------

POOLED = compose("docker-compose.yml", "deploy/compose/pgbouncer.yml")


def test_only_the_api_goes_through_pgbouncer() -> None:
    """Workers, migrations and the seed set things for their session, or are seldom."""
    urls = {
        name: one["environment"]["DATABASE_URL"]
        for name, one in POOLED["services"].items()
        if "DATABASE_URL" in (one.get("environment") or {})
    }
    assert {name for name, url in urls.items() if "@pgbouncer:6432/" in url} == {"api"}
    assert {name for name, url in urls.items() if "@postgres:5432/" in url} == {"worker", "migrate", "seed"}
    assert POOLED["services"]["api"]["depends_on"]["pgbouncer"]["condition"] == "service_healthy"


def test_pgbouncer_runs_read_only_without_capabilities_beside_the_databases() -> None:
    one = POOLED["services"]["pgbouncer"]
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert set(one["networks"]) == {"inside"}
    assert "ports" not in one
