"""The commands of docs/operations.md: shell that parses, SQL that runs on the real schema, containers that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import asyncpg
import msgspec
import pytest
import yaml
from msgspec import Struct
from sharedjox_api.settings import ApiSettings
from sharedjox_contracts.codec import encode_json_text
from sharedjox_contracts.webhooks import WebhookEndpoint
from sharedjox_devstack.settings import StackSettings
from sharedjox_gateway.apps import App, AppLimits
from sharedjox_gateway.settings import GatewaySettings
from sharedjox_worker.settings import WorkerSettings

from tests.support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SQL = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMPOSE_WORDS = re.compile(
    r"docker compose (?:-f \S+ )*(?:--profile \S+ )?(exec|run|logs|stop|start|kill|top|ps|up|stats) ([^|>&\n]*)"
)


@pytest.mark.parametrize("block", SHELL)
def test_shell_parses(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("statement", SQL)
async def test_sql_runs_on_the_real_schema(statement: str, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_commands_name_services_that_exist() -> None:
    services = set(yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"])
    named = set()
    for command, rest in COMPOSE_WORDS.findall("\n".join(SHELL)):
        words = [word for word in rest.split() if re.fullmatch(r"[a-z]+(-[0-9])?", word)]
        # `exec` and `run` take one service, then a command of its own; the others take services only.
        named |= set(words[:1] if command in ("exec", "run") else [word for word in words if word != "grep"])
    assert named
    assert named - services - {"sh"} == set()


def _shown(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return f"`{encode_json_text(default)}`"


def _fields_of(kind: type[Struct], prefix: str = "") -> dict[str, str]:
    """Each field as the page has it: its name and its default."""
    return {
        f"{prefix}{field.encode_name}": _shown(field)
        for field in msgspec.structs.fields(kind)
        if field.encode_name != "limits"
    }


def test_every_field_of_an_application_is_explained_with_its_default() -> None:
    table = re.search(r"^What an application may have.*?\n\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert table is not None
    explained = {
        name: default
        for names, default in re.findall(r"^\| (`.*?) \| (.*?) \|", table[1], re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert explained == _fields_of(App) | _fields_of(AppLimits, "limits.")
    (webhooks,) = (line for line in table[1].splitlines() if line.startswith("| `webhooks`"))
    assert set(re.findall(r"`(\w+)`", webhooks)) - {"webhooks"} == set(_fields_of(WebhookEndpoint))


def test_the_apps_file_that_is_shown_is_read_by_gateways_and_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.search(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    file = tmp_path / "apps.json"
    file.write_text(shown[1], encoding="utf-8")
    monkeypatch.setenv("APPS_FILE", str(file))
    assert [app.id for app in GatewaySettings().load_apps()] == ["1001", "1002"]
    assert [app.id for app in WorkerSettings().load_webhook_apps()] == ["1001", "1002"]


def test_the_histories_that_are_shown_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.search(r"`HISTORY_KINDS=([^`]+)`", PAGE)
    assert shown is not None
    monkeypatch.setenv("HISTORY_KINDS", shown[1])
    presence = WorkerSettings().history()("presence-job.1")
    assert (presence.length, presence.age_seconds) == (500, 600)
    assert GatewaySettings().history()("presence-job.1") == presence


def test_settings_that_are_named_exist() -> None:
    kinds = (ApiSettings, WorkerSettings, GatewaySettings, StackSettings)
    ours = {name.upper() for kind in kinds for name in kind.model_fields}
    in_the_compose_file = set(
        re.findall(r"\$\{([A-Z_]+)", (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    )
    named = set(re.findall(r"`([A-Z][A-Z0-9_]{5,})(?:=[^`]*)?`", PAGE))
    assert named - ours - in_the_compose_file - {"CONTRACT"} == set()
