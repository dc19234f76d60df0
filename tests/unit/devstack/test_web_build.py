"""The web app is installed and built when, and only when, something changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sharedjox_devstack.errors import DevstackError
from sharedjox_devstack.web_build import WebApp


class Steps:
    """Runs the steps as npm would leave things behind, and remembers them."""

    def __init__(self, *, status: int = 0) -> None:
        self.status = status
        self.commands: list[str] = []

    def __call__(self, _name: str, command: list[str], folder: Path) -> int:
        self.commands.append(" ".join(command).removesuffix(" --loglevel=error"))
        if self.status == 0:
            dist = folder / "apps" / "demo" / "dist"
            dist.mkdir(parents=True, exist_ok=True)
            (dist / "index.html").write_text("<html>", encoding="utf-8")
            installed = folder / "node_modules" / "vite"
            installed.mkdir(parents=True, exist_ok=True)
            (installed / "package.json").write_text("{}", encoding="utf-8")
        return self.status


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    demo = tmp_path / "web" / "apps" / "demo"
    (demo / "src").mkdir(parents=True)
    for file in (tmp_path / "web" / "package-lock.json", demo / "package.json", demo / "src" / "main.tsx"):
        file.write_text("{}", encoding="utf-8")
    return tmp_path


def test_failed_step_is_named_and_tried_again(repository: Path) -> None:
    with pytest.raises(DevstackError, match=r"`npm ci` failed in web/"):
        WebApp(repository).build(Steps(status=1))
    steps = Steps()
    assert WebApp(repository).build(steps) is True
    assert steps.commands == ["npm ci", "npm run build"]


def test_nothing_runs_when_nothing_changed(repository: Path) -> None:
    WebApp(repository).build(Steps())
    steps = Steps()
    assert WebApp(repository).build(steps) is False
    assert steps.commands == []


def test_changed_source_is_built_without_installing(repository: Path) -> None:
    WebApp(repository).build(Steps())
    (repository / "web" / "apps" / "demo" / "src" / "main.tsx").write_text("changed", encoding="utf-8")
    steps = Steps()
    WebApp(repository).build(steps)
    assert steps.commands == ["npm run build"]


def test_changed_lock_is_installed(repository: Path) -> None:
    WebApp(repository).build(Steps())
    (repository / "web" / "package-lock.json").write_text('{"changed": 1}', encoding="utf-8")
    steps = Steps()
    WebApp(repository).build(steps)
    assert steps.commands == ["npm ci", "npm run build"]


def test_published_copy_replaces_the_last_one(repository: Path, tmp_path: Path) -> None:
    web = WebApp(repository)
    web.build(Steps())
    served = tmp_path / "data" / "web"
    served.mkdir(parents=True)
    (served / "old.js").touch()
    web.publish(served, config={"appKey": "sharedjox", "websocketUrl": "ws://localhost:8081"})
    assert sorted(file.name for file in served.iterdir()) == ["config.json", "index.html"]
    assert json.loads((served / "config.json").read_bytes())["websocketUrl"] == "ws://localhost:8081"
