"""The steps of a rotation, over each kind of file."""

from __future__ import annotations

import base64
import json

import pytest
from sharedjox_operator.errors import OperatorError
from sharedjox_operator.rotation import Key, Secrets, Step, advance, rotate

ENV = "# ours\nAPP_ENV=production\nexport JWT_SECRET='one'\n#JWT_ACCEPTED_SECRETS=sample\nREVERB_APP_SECRET=app-one\n"
APPS = json.dumps(
    [{"id": "1", "key": "a", "secret": "one"}, {"id": "2", "key": "b", "secret": "other", "enabled": True}]
)


def env_of(text: str) -> dict[str, str]:
    lines = [line.removeprefix("export ") for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("step", [Step.SWITCH, Step.FINISH])
def test_a_rotation_begins_with_its_preparation(step: Step) -> None:
    with pytest.raises(OperatorError, match="needs one accepted secret"):
        rotate(ENV, Key.JWT, step)


def test_a_second_rotation_does_not_begin_before_the_first_is_finished() -> None:
    with pytest.raises(OperatorError, match="finish it first"):
        advance(Secrets("one", ("two",)), Step.PREPARE)


def test_a_file_without_the_secret_is_refused() -> None:
    for text in ("", "APP_ENV=production\n", "#JWT_SECRET=one\n", "JWT_SECRET=\n"):
        with pytest.raises(OperatorError, match="JWT_SECRET is not there"):
            rotate(text, Key.JWT, Step.PREPARE)


def test_an_environment_file_keeps_everything_else() -> None:
    prepared = rotate(ENV, Key.JWT, Step.PREPARE)
    switched = rotate(prepared, Key.JWT, Step.SWITCH)
    finished = rotate(switched, Key.JWT, Step.FINISH)
    new = env_of(prepared)["JWT_ACCEPTED_SECRETS"]
    assert len(new) == 64
    assert env_of(prepared)["JWT_SECRET"] == "one"
    assert (env_of(switched)["JWT_SECRET"], env_of(switched)["JWT_ACCEPTED_SECRETS"]) == (new, "one")
    assert (env_of(finished)["JWT_SECRET"], env_of(finished)["JWT_ACCEPTED_SECRETS"]) == (new, "")
    for text in (prepared, switched, finished):
        assert text.startswith("# ours\nAPP_ENV=production\n")
        assert "#JWT_ACCEPTED_SECRETS=sample\nREVERB_APP_SECRET=app-one\n" in text


def test_an_apps_file_changes_one_app() -> None:
    prepared = json.loads(rotate(APPS, Key.APP, Step.PREPARE, app_id="2"))
    assert prepared[0] == {"id": "1", "key": "a", "secret": "one"}
    (new,) = prepared[1]["accepted_secrets"]
    switched = json.loads(rotate(json.dumps(prepared), Key.APP, Step.SWITCH, app_id="2"))
    assert switched[1] == {"id": "2", "key": "b", "secret": new, "enabled": True, "accepted_secrets": ["other"]}
    finished = json.loads(rotate(json.dumps(switched), Key.APP, Step.FINISH, app_id="2"))
    assert (finished[1]["secret"], finished[1]["accepted_secrets"]) == (new, [])


@pytest.mark.parametrize("app_id", [None, "3"])
def test_it_must_be_clear_which_app_is_meant(app_id: str | None) -> None:
    with pytest.raises(OperatorError, match="--app"):
        rotate(APPS, Key.APP, Step.PREPARE, app_id=app_id)


def test_an_apps_file_has_no_jwt_secret() -> None:
    with pytest.raises(OperatorError, match="rotate-keys app"):
        rotate(APPS, Key.JWT, Step.PREPARE, app_id="1")


def test_a_kubernetes_secret_keeps_its_metadata() -> None:
    encoded = base64.b64encode(b"one").decode()
    secret = {
        "kind": "Secret",
        "metadata": {"name": "sharedjox", "resourceVersion": "7"},
        "data": {"JWT_SECRET": encoded},
    }
    prepared = json.loads(rotate(json.dumps(secret), Key.JWT, Step.PREPARE))
    assert prepared["metadata"] == secret["metadata"]
    assert prepared["data"]["JWT_SECRET"] == encoded
    switched = json.loads(rotate(json.dumps(prepared), Key.JWT, Step.SWITCH))
    assert switched["data"] == {
        "JWT_SECRET": prepared["data"]["JWT_ACCEPTED_SECRETS"],
        "JWT_ACCEPTED_SECRETS": encoded,
    }


@pytest.mark.parametrize("text", ['{"kind": "ConfigMap", "data": {}}', '{"kind": "Secret"}', "{", "[1"])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(OperatorError):
        rotate(text, Key.APP, Step.PREPARE)
