"""Images install what requirements.lock says: complete, hashed, and nothing else."""

from __future__ import annotations

import re
from importlib.metadata import distribution

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import REPOSITORY

DOCKER = REPOSITORY / "deploy" / "docker"
SERVICES = {"api": "sharedjox-api", "worker": "sharedjox-worker", "ws_gateway": "sharedjox-gateway"}
PACKAGES = [*SERVICES.items(), ("worker", "sharedjox-operator")]
"""Each lock with a package of its image; operators find their command in the worker's."""
PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
# What the images are: CPython 3.13 on Linux.
IMAGE = {
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}
STALE = "run: make lock, or python deploy/docker/export_locks.py"


def pins(name: str) -> dict[str, str]:
    path = REPOSITORY / name if "/" not in name and name == "requirements.lock" else DOCKER / name
    return {found["name"]: found["version"] for found in PIN.finditer(path.read_text(encoding="utf-8"))}


def needed_by(package: str) -> set[str]:
    """Names of the packages that `package` needs in the image, ours left out."""
    found: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(package, frozenset())]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is not None and not _applies(requirement.marker, extras):
                continue
            child = canonicalize_name(requirement.name)
            if not child.startswith("sharedjox-"):
                found.add(child)
            step = (child, frozenset(requirement.extras))
            if step not in seen:
                seen.add(step)
                waiting.append(step)
    return found


def _applies(marker: Marker, extras: frozenset[str]) -> bool:
    return any(marker.evaluate(IMAGE | {"extra": extra}) for extra in (extras or {""}))


@pytest.mark.parametrize(("name", "package"), PACKAGES)
def test_a_lock_has_what_its_image_needs(name: str, package: str) -> None:
    assert needed_by(package) - set(pins(f"{name}.lock")) == set(), STALE


@pytest.mark.parametrize(("name", "package"), PACKAGES)
def test_an_image_is_built_with_its_packages(name: str, package: str) -> None:
    folder = next(
        file.parent.relative_to(REPOSITORY)
        for file in REPOSITORY.glob("*/*/pyproject.toml")
        if f'name = "{package}"' in file.read_text(encoding="utf-8")
    )
    text = (DOCKER / f"{name}.Dockerfile").read_text(encoding="utf-8")
    assert f"COPY {folder} {folder}\n" in text
    assert f"./{folder}" in text.partition("-w /own")[2].partition("&&")[0]


@pytest.mark.parametrize("name", [*SERVICES, "build"])
def test_versions_are_those_of_the_whole_lock(name: str) -> None:
    whole = pins("requirements.lock")
    assert {package: whole.get(package) for package in pins(f"{name}.lock")} == pins(f"{name}.lock"), STALE


@pytest.mark.parametrize("name", [*SERVICES, "build"])
def test_locks_are_hashed_and_name_no_registry(name: str) -> None:
    text = (DOCKER / f"{name}.lock").read_text(encoding="utf-8")
    assert text.count("--hash=sha256:") >= len(pins(f"{name}.lock"))
    assert "://" not in text


def test_the_gateway_carries_no_database_driver() -> None:
    assert {"sqlalchemy", "asyncpg", "arq", "alembic"} & set(pins("ws_gateway.lock")) == set()


@pytest.mark.parametrize("name", SERVICES)
def test_images_do_not_run_as_root(name: str) -> None:
    final = (DOCKER / f"{name}.Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert "pip" not in final
