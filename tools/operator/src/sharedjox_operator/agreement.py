"""Whether the processes that report are enough, of one version, of one time, and of one mind about settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sharedjox_kit.processes import ProcessReport, SeenReport

from .findings import Finding, fail, ok, warn

_WANTED: Final = {"api": 1, "worker": 1, "gateway": 2}
_ADVICE: Final = {
    "api": "nobody can log in, post or authorize channels: start one",
    "worker": "events are committed and wait: start one",
    "gateway": "the next drain or crash has nowhere to send people: start another",
}
_SKEW_MS: Final = 250
"""Commit-to-socket latencies are measured over two clocks; a quarter of a second makes the alert on them wrong."""
_SKEW_THAT_BREAKS_MS: Final = 60_000
"""Signatures of the HTTP API and tokens tolerate minutes, not hours; NTP never leaves a minute."""
_FULL: Final = 0.8
_SCHEMA: Final = "SCHEMA_REVISION"


def check_processes(seen: Sequence[SeenReport]) -> list[Finding]:
    """Everything that reports can tell. An empty list of reports is a failure of every service."""
    reports = [one.report for one in seen]
    return [
        *_check_counts(reports),
        *_check_versions(reports),
        *_check_clocks(seen),
        *_check_rooms(reports),
        *_check_settings(reports),
        *_check_apps(reports),
    ]


def _check_counts(reports: Iterable[ProcessReport]) -> list[Finding]:
    living = defaultdict(list)
    for report in reports:
        if not report.state.get("draining"):
            living[report.service].append(report.id)
    findings = []
    for service, wanted in _WANTED.items():
        names = ", ".join(living[service]) or "none"
        if len(living[service]) >= wanted:
            findings.append(ok(service, names))
        elif living[service]:
            findings.append(warn(service, names, _ADVICE[service]))
        else:
            findings.append(fail(service, names, _ADVICE[service]))
    return findings


def _check_versions(reports: Sequence[ProcessReport]) -> list[Finding]:
    versions = {report.version for report in reports}
    if len(versions) <= 1:
        return [ok("versions", next(iter(versions)))] if versions else []
    told = "; ".join(f"{report.service} {report.id} {report.version}" for report in reports)
    return [warn("versions", told, "an upgrade is under way: finish it")]


def _check_clocks(seen: Sequence[SeenReport]) -> list[Finding]:
    if not seen:
        return []
    worst = max(seen, key=lambda one: abs(one.skew_ms))
    told = f"at most {abs(worst.skew_ms)} ms from Redis' ({worst.report.service} {worst.report.id})"
    if abs(worst.skew_ms) > _SKEW_THAT_BREAKS_MS:
        return [fail("clocks", told, "set the clock: signatures and tokens are refused")]
    if abs(worst.skew_ms) > _SKEW_MS:
        return [warn("clocks", told, "run NTP: latencies are measured between machines")]
    return [ok("clocks", told)]


def _check_rooms(reports: Iterable[ProcessReport]) -> list[Finding]:
    findings = []
    for report in reports:
        connections, limit = report.state.get("connections", 0), report.state.get("connection_limit", 0)
        if limit and connections > _FULL * limit:
            told = f"{connections} of {limit} connections"
            findings.append(warn(f"gateway {report.id}", told, "add a gateway, see docs/operations.md#gatewayfull"))
    return findings


def _check_settings(reports: Iterable[ProcessReport]) -> list[Finding]:
    """Who names a setting must give it one value; the schema is compared with the database instead."""
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for report in reports:
        for name, value in report.settings.items():
            if name != _SCHEMA:
                values[name][value].append(f"{report.service} {report.id}")
    differing = {name: found for name, found in values.items() if len(found) > 1}
    if not differing:
        return [ok("settings", "agree")] if values else []
    return [
        fail("settings", f"{name} differs: {_told(found)}", "give all processes one value")
        for name, found in differing.items()
    ]


def _told(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value or 'empty'} in {', '.join(owners)}" for value, owners in sorted(found.items()))


def _check_apps(reports: Sequence[ProcessReport]) -> list[Finding]:
    """What the api and the workers sign with must be accepted by every gateway."""
    gateways = [report for report in reports if report.service == "gateway"]
    findings = []
    for report in reports:
        if report.service == "gateway":
            continue
        for app_id, (key, signing, *_) in report.apps.items():
            for gateway in gateways:
                if (problem := _problem(gateway.apps.get(app_id), key, signing)) is not None:
                    told = f"{report.service} {report.id} and gateway {gateway.id}: {problem}"
                    findings.append(fail(f"app {app_id}", told, "give both the same app, key and secret"))
    if not findings and gateways:
        findings.append(ok("apps", "keys and secrets agree"))
    return findings


def _problem(known: Sequence[str] | None, key: str, signing: str) -> str | None:
    if known is None:
        return "the gateway does not know the app"
    if known[0] != key:
        return f"the keys are {key} and {known[0]}"
    return None if signing in known[1:] else "the secrets differ"
