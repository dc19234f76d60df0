"""What compose and Kubernetes set is what the services read, and the services accept it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings
from sharedjox_marketplace.notifications.push_rules import SAMPLE_VAPID_PRIVATE_KEY

from .rendered import (
    OVERLAYS,
    PRODUCTION_SECRETS,
    SETTINGS,
    Container,
    compose,
    compose_containers,
    kubernetes_containers,
    kustomize,
)

COMPOSE = ("docker-compose.yml",)
COMPOSE_PRODUCTION = (*COMPOSE, "deploy/compose/production.yml")
# The config map is shared, and each service takes its own from it.
SHARED = {name.upper() for kind in SETTINGS.values() for name in kind.model_fields}
NOT_OF_A_SERVICE = frozenset({"certificate", "smoke"})
# Settled by the compose file or the image: addresses inside the container, where TLS ends, times that compose's own
# grace periods are made for, one process a container, where gateways reach each other.
SETTLED = frozenset(
    {"API_HOST", "API_PORT", "REVERB_HOST", "REVERB_PORT", "REVERB_SCHEME"}
    | {"WORKER_METRICS_HOST", "WORKER_METRICS_PORT", "TLS_CERTIFICATE", "TLS_KEY", "WEB_DIST_DIR"}
    | {"LOG_FORMAT", "TRUSTED_PROXIES", "SHUTDOWN_SECONDS", "WORKER_SHUTDOWN_SECONDS"}
    | {"GATEWAY_ADMIN_HOST", "GATEWAY_ADMIN_PORT", "GATEWAY_INTERNAL_HOST", "GATEWAY_INTERNAL_PORT"}
)
DEVELOPERS_OWN = re.compile(
    r"sharedjox-secret|development|\.test\b|127\.0\.0\.1|localhost|^\*$|" + re.escape(SAMPLE_VAPID_PRIVATE_KEY)
)
"""In a default: it is right on a developer's machine only."""


def cases() -> list[Container]:
    containers = compose_containers(compose(*COMPOSE))
    containers += compose_containers(compose(*COMPOSE_PRODUCTION, env=PRODUCTION_SECRETS))
    for overlay in OVERLAYS:
        containers += kubernetes_containers(kustomize(overlay))
    return [container for container in containers if container.name not in NOT_OF_A_SERVICE]


CASES = cases()


@pytest.mark.parametrize("container", CASES, ids=lambda one: one.name)
def test_every_variable_is_a_setting_of_some_service(container: Container) -> None:
    assert set(container.environment) - SHARED == set()


@pytest.mark.parametrize("container", compose_containers(compose(*COMPOSE)), ids=lambda one: one.name)
def test_compose_sets_nothing_that_its_service_does_not_read(container: Container) -> None:
    if container.name in NOT_OF_A_SERVICE:
        assert container.environment == {}
        return
    read = {name.upper() for name in SETTINGS[container.image].model_fields}
    # Named once for all services in the file; the worker has no use for the app's key.
    assert set(container.environment) - read <= {"REVERB_APP_KEY"}


@pytest.mark.parametrize("container", CASES, ids=lambda one: one.name)
def test_the_service_accepts_what_it_is_given(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: type[BaseSettings] = SETTINGS[container.image]
    for name in kind.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    # The image's own folder of the web app is not here; secrets come from secret objects.
    for name, value in (PRODUCTION_SECRETS | container.environment).items():
        if name != "WEB_DIST_DIR":
            monkeypatch.setenv(name, value)
    kind()


@pytest.mark.parametrize("image", SETTINGS)
def test_whoever_sets_a_variable_of_a_service_for_compose_is_heard(image: str) -> None:
    """`.env.example` names them all; each reaches every container of its service, or compose settles it."""
    wanted = {name.upper() for name in SETTINGS[image].model_fields} - SETTLED
    rendered = compose(*COMPOSE, env={name: f"https://value.of/{name}" for name in wanted})
    for container in compose_containers(rendered):
        if container.image == image and container.name not in NOT_OF_A_SERVICE:
            given = {name: container.environment.get(name) for name in wanted}
            assert given == {name: f"https://value.of/{name}" for name in wanted}, container.name


def developers_own(kind: type[BaseSettings]) -> set[str]:
    """Settings whose default nobody wants in production."""
    return {
        name.upper()
        for name, one in kind.model_fields.items()
        if DEVELOPERS_OWN.search(_plain(one.get_default(call_default_factory=True)))
    }


def _plain(default: Any) -> str:
    if isinstance(default, list):
        return ",".join(default)
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


def test_a_default_for_developers_is_recognized() -> None:
    assert developers_own(SETTINGS["sharedjox/worker"]) == {
        "DATABASE_URL",
        "REDIS_URL",
        "REVERB_APP_SECRET",
        "VAPID_PRIVATE_KEY",
        "VAPID_SUBJECT",
        "WORKER_METRICS_HOST",
    }


PRODUCTION = [
    *compose_containers(compose(*COMPOSE_PRODUCTION, env=PRODUCTION_SECRETS)),
    *kubernetes_containers(kustomize("production")),
]


@pytest.mark.parametrize("container", PRODUCTION, ids=lambda one: one.name)
def test_production_leaves_no_default_that_is_for_developers(container: Container) -> None:
    if container.name in NOT_OF_A_SERVICE:
        return
    by_the_image = {"API_HOST", "WORKER_METRICS_HOST"}
    unused = {"GATEWAY_ADMIN_HOST"} | ({"REDIS_URL"} if container.name == "migrate" else set())
    for name in developers_own(SETTINGS[container.image]) - by_the_image - unused:
        assert not DEVELOPERS_OWN.search(container.environment.get(name) or "development"), name


def test_production_compose_does_not_start_without_secrets() -> None:
    for missing in PRODUCTION_SECRETS:
        env = {name: value for name, value in PRODUCTION_SECRETS.items() if name != missing}
        with pytest.raises(Exception, match="returned non-zero") as refusal:
            compose(*COMPOSE_PRODUCTION, env=env)
        assert missing in refusal.value.stderr  # type: ignore[attr-defined]  # CalledProcessError
