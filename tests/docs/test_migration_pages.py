"""What the migration pages show as configuration is accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sharedjox_gateway.settings import GatewaySettings

from tests.support.processes import REPOSITORY

DOCS = REPOSITORY / "docs"


def block(page: str, language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def test_the_apps_file_of_the_soketi_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "apps.json"
    file.write_text(block("migrating-from-soketi.md", "json"), encoding="utf-8")
    monkeypatch.setenv("APPS_FILE", str(file))
    (app,) = GatewaySettings().load_apps()
    assert (app.id, app.key, app.limits.max_connections) == ("1001", "your-key", 10000)


def test_laravels_credentials_are_the_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = dict(line.split("=", 1) for line in block("migrating-from-reverb.md", "ini").splitlines())
    for name in ("REVERB_APP_ID", "REVERB_APP_KEY", "REVERB_APP_SECRET"):
        monkeypatch.setenv(name, lines[name])
    (app,) = GatewaySettings().load_apps()
    assert (app.id, app.key, app.secret) == ("1001", "your-key", "your-secret")


@pytest.mark.parametrize("page", ["migrating-from-reverb.md", "migrating-from-soketi.md"])
def test_settings_that_are_named_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    ours = {name.upper() for name in GatewaySettings.model_fields}
    named = set(re.findall(r"`([A-Z][A-Z_]{5,})(?:=[^`]*)?`", text))
    assert {name for name in named if not name.startswith(("SOKETI_", "BROADCAST_", "VITE_"))} - ours - {
        "REVERB_APP_"
    } == set()
