"""Write the production overlay's PrometheusRule from deploy/prometheus/alerts.yml: one set of alerts, not two."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).resolve().parent
SOURCE: Final = HERE.parent / "prometheus" / "alerts.yml"
TARGET: Final = HERE / "overlays" / "production" / "alerts.yaml"


def rule() -> dict[str, Any]:
    """The custom resource for the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sharedjox"},
        "spec": yaml.safe_load(SOURCE.read_text(encoding="utf-8")),
    }


def render() -> str:
    """The file's text."""
    text: str = yaml.safe_dump(rule(), sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by deploy/kubernetes/export_alerts.py from deploy/prometheus/alerts.yml.\n{text}"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
