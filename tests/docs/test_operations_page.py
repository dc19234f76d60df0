"""The commands of docs/operations.md: shell that parses, SQL that runs on the real schema, containers that exist."""

from __future__ import annotations

import re
import subprocess

import asyncpg
import pytest
import yaml

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
