"""`sharedjox rotate-keys`: the three steps of a rotation, as a filter over the file that holds the secret.

Prepare: the next secret is accepted. Switch: it signs, the former one is accepted. Finish: it alone is good.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from .errors import OperatorError


class Key(Enum):
    """What is rotated."""

    JWT = "jwt"
    APP = "app"


class Step(Enum):
    """Which step is taken; between two of them the processes named in `WHO_ROLLS` are rolled."""

    PREPARE = "prepare"
    SWITCH = "switch"
    FINISH = "finish"


_NAMES: Final = {
    Key.JWT: ("JWT_SECRET", "JWT_ACCEPTED_SECRETS"),
    Key.APP: ("REVERB_APP_SECRET", "REVERB_APP_ACCEPTED_SECRETS"),
}
WHO_ROLLS: Final = {
    (Key.JWT, Step.PREPARE): "every api process, then: rotate-keys jwt switch",
    (Key.JWT, Step.SWITCH): "every api process, then wait ACCESS_TOKEN_SECONDS, then: rotate-keys jwt finish",
    (Key.JWT, Step.FINISH): "every api process; the former secret is worth nothing then",
    (Key.APP, Step.PREPARE): "every gateway (not needed with APPS_FILE), then: rotate-keys app switch",
    (Key.APP, Step.SWITCH): "api, workers and gateways, and change every publisher and every receiver of webhooks,"
    " then: rotate-keys app finish",
    (Key.APP, Step.FINISH): "every gateway (not needed with APPS_FILE); the former secret is worth nothing then",
}
_ENV_LINE: Final = re.compile(r"^(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)$")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The one that signs, and those that are accepted too."""

    signing: str
    accepted: tuple[str, ...]


def new_secret() -> str:
    """256 random bits, hexadecimal."""
    return secrets.token_hex(32)


def advance(now: Secrets, step: Step, make: Callable[[], str] = new_secret) -> Secrets:
    """The secrets after a step. Raises: OperatorError when it is another step's turn."""
    if step is Step.PREPARE:
        if now.accepted:
            msg = "a rotation is under way: finish it first (rotate-keys … finish)"
            raise OperatorError(msg)
        return Secrets(now.signing, (make(),))
    if len(now.accepted) != 1:
        msg = f"{step.value} needs one accepted secret besides the one that signs, there are {len(now.accepted)}"
        raise OperatorError(msg)
    return Secrets(now.accepted[0], (now.signing,)) if step is Step.SWITCH else Secrets(now.signing, ())


def rotate(text: str, key: Key, step: Step, *, app_id: str | None = None) -> str:
    """The file after the step. Told apart by their first letters: a Kubernetes Secret in JSON, APPS_FILE, else `.env`.

    Raises: OperatorError for a file that has no such secret, or for the wrong step.
    """
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return _rotate_env(text, key, step)
    try:
        document = json.loads(text)
    except ValueError as error:
        msg = f"neither an environment file nor JSON: {error}"
        raise OperatorError(msg) from error
    if start == "[":
        _rotate_app(document, key, step, app_id)
    else:
        _rotate_kubernetes(document, key, step)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _rotate_env(text: str, key: Key, step: Step) -> str:
    lines = text.splitlines()
    places = {found["name"]: place for place, line in enumerate(lines) if (found := _ENV_LINE.match(line))}

    def value_of(name: str) -> str:
        found = _ENV_LINE.match(lines[places[name]]) if name in places else None
        return found["value"].strip().strip("'\"") if found else ""

    signing, accepted = _NAMES[key]
    after = advance(_secrets(signing, value_of(signing), value_of(accepted)), step)
    for name, value in ((signing, after.signing), (accepted, ",".join(after.accepted))):
        if name in places:
            lines[places[name]] = f"{name}={value}"
        else:
            lines.append(f"{name}={value}")
    return "\n".join(lines) + "\n"


def _rotate_kubernetes(document: dict[str, Any], key: Key, step: Step) -> None:
    data = document.get("data")
    if document.get("kind") != "Secret" or not isinstance(data, dict):
        msg = "not a Secret: kubectl get secret … --output json"
        raise OperatorError(msg)
    signing, accepted = _NAMES[key]

    def value_of(name: str) -> str:
        return base64.b64decode(data.get(name, "")).decode()

    after = advance(_secrets(signing, value_of(signing), value_of(accepted)), step)
    for name, value in ((signing, after.signing), (accepted, ",".join(after.accepted))):
        data[name] = base64.b64encode(value.encode()).decode()


def _rotate_app(apps: list[dict[str, Any]], key: Key, step: Step, app_id: str | None) -> None:
    if key is not Key.APP:
        msg = "APPS_FILE holds secrets of apps: rotate-keys app"
        raise OperatorError(msg)
    chosen = [app for app in apps if app_id is None or app.get("id") == app_id]
    if len(chosen) != 1:
        msg = f"{len(chosen)} apps are meant: say which with --app"
        raise OperatorError(msg)
    (app,) = chosen
    after = advance(_secrets("secret", str(app.get("secret", "")), ",".join(app.get("accepted_secrets", []))), step)
    app["secret"] = after.signing
    app["accepted_secrets"] = list(after.accepted)


def _secrets(name: str, signing: str, accepted: str) -> Secrets:
    if not signing:
        msg = f"{name} is not there"
        raise OperatorError(msg)
    return Secrets(signing, tuple(part.strip() for part in accepted.split(",") if part.strip()))
