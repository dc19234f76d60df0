"""What compose and Kubernetes set is what the services read, and the services accept it."""

from __future__ import annotations

import pytest
from pydantic_settings import BaseSettings

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


def test_production_compose_does_not_start_without_secrets() -> None:
    for missing in PRODUCTION_SECRETS:
        env = {name: value for name, value in PRODUCTION_SECRETS.items() if name != missing}
        with pytest.raises(Exception, match="returned non-zero") as refusal:
            compose(*COMPOSE_PRODUCTION, env=env)
        assert missing in refusal.value.stderr  # type: ignore[attr-defined]  # CalledProcessError
