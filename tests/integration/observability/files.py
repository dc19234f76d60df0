"""The alert rules and the dashboard as data."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.support.processes import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
ALERTS_FILE = DEPLOY / "prometheus" / "alerts.yml"
OURS = re.compile(r"\b(?:sharedjox|process)_[a-z0-9_]+")
RATE_INTERVAL = "15s"


def alerts() -> list[dict[str, Any]]:
    """All alert rules."""
    groups = yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, rows left out."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "sharedjox.json").read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(panel: dict[str, Any]) -> list[str]:
    """The panel's PromQL with a concrete interval."""
    return [target["expr"].replace("$__rate_interval", RATE_INTERVAL) for target in panel["targets"]]


def metric_names(expression: str) -> set[str]:
    """The metrics of our processes that an expression reads."""
    return set(OURS.findall(expression))
