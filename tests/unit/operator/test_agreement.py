"""What the doctor makes of the processes' reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sharedjox_kit.processes import ProcessReport, SeenReport, fingerprint
from sharedjox_operator.agreement import check_processes
from sharedjox_operator.findings import Level

ONE, TWO = fingerprint("one"), fingerprint("two")
STATE = {"connections": 10, "connection_limit": 100, "draining": 0}


def report(service: str, name: str, **members: Any) -> ProcessReport:
    made = ProcessReport(service, name, "0.1.0", 0, 1_000_000, {"APP_ENV": "production"})
    return replace(made, **members)


HEALTHY = [
    report("api", "a1", apps={"1001": ["key", ONE]}),
    report("gateway", "g1", apps={"1001": ["key", ONE]}, state=STATE),
    report("gateway", "g2", apps={"1001": ["key", TWO, ONE]}, state=STATE),
    report("worker", "w1"),
]


def findings(reports: list[ProcessReport], *, skew_ms: int = 3) -> dict[Level, list[str]]:
    seen = [SeenReport(one, one.at_ms - (skew_ms if one is reports[0] else 0)) for one in reports]
    told: dict[Level, list[str]] = {level: [] for level in Level}
    for one in check_processes(seen):
        told[one.level].append(f"{one.what}: {one.seen}")
    return told


def changed(name: str, **members: Any) -> list[ProcessReport]:
    return [replace(one, **members) if one.id == name else one for one in HEALTHY]


def without(*names: str) -> list[ProcessReport]:
    return [one for one in HEALTHY if one.id not in names]


def test_a_healthy_deployment_has_nothing_to_say() -> None:
    told = findings(HEALTHY)
    assert (told[Level.WARN], told[Level.FAIL]) == ([], [])


def test_no_reports_are_a_failure_of_every_service() -> None:
    assert findings([])[Level.FAIL] == ["api: none", "worker: none", "gateway: none"]


@pytest.mark.parametrize(("gone", "level"), [("a1", Level.FAIL), ("w1", Level.FAIL), ("g1", Level.WARN)])
def test_what_is_missing_is_said(gone: str, level: Level) -> None:
    assert len(findings(without(gone))[level]) == 1


def test_a_draining_gateway_does_not_count() -> None:
    assert findings(changed("g2", state=STATE | {"draining": 1}))[Level.WARN] == ["gateway: g1"]


@pytest.mark.parametrize(("skew", "level"), [(300, Level.WARN), (-300, Level.WARN), (90_000, Level.FAIL)])
def test_clocks_that_differ_are_said(skew: int, level: Level) -> None:
    assert findings(HEALTHY, skew_ms=skew)[level] == [f"clocks: at most {abs(skew)} ms from Redis' (api a1)"]


def test_another_secret_or_key_or_app_is_a_failure() -> None:
    for apps, problem in (
        ({"1001": ["key", TWO]}, "the secrets differ"),
        ({"1001": ["other", ONE]}, "the keys are key and other"),
        ({"2002": ["key", ONE]}, "the gateway does not know the app"),
    ):
        assert findings(changed("g1", apps=apps))[Level.FAIL] == [f"app 1001: api a1 and gateway g1: {problem}"]


def test_settings_that_differ_are_named_with_their_owners() -> None:
    told = findings(changed("w1", settings={"APP_ENV": "staging"}))
    assert told[Level.FAIL] == [
        "settings: APP_ENV differs: production in api a1, gateway g1, gateway g2; staging in worker w1"
    ]


def test_an_upgrade_and_a_full_gateway_are_warnings() -> None:
    assert len(findings(changed("g1", version="0.2.0"))[Level.WARN]) == 1
    assert findings(changed("g1", state=STATE | {"connections": 81}))[Level.WARN] == [
        "gateway g1: 81 of 100 connections"
    ]
