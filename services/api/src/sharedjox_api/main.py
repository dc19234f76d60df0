"""`sharedjox-api serve | migrate | seed | create-operator`."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence

import uvicorn
from sharedjox_kit.environment import load_settings, refuse
from sharedjox_kit.logs import configure_logging
from sharedjox_marketplace.pooler import pooler_faults

from .app import create_app
from .migrations import MigrationError, migrate
from .seed import OperatorExistsError, create_operator, seed
from .settings import ApiSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the commands; leaves with status 2 and one line when that is not possible."""
    parser = argparse.ArgumentParser(prog="sharedjox-api", description="The REST API of SharedJox.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve on API_HOST and API_PORT")
    commands.add_parser("migrate", help="bring the database to the newest schema")
    commands.add_parser("seed", help="demo users and jobs; changes nothing when they are there")
    operator = commands.add_parser("create-operator", help="make an operator's account")
    operator.add_argument("--email", required=True)
    operator.add_argument("--name", required=True)
    operator.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    chosen = parser.parse_args(arguments)
    settings = load_settings(ApiSettings)
    configure_logging(service="api", level=settings.log_level, form=settings.log_format)
    if chosen.command == "serve":
        serve(settings)
    elif chosen.command == "create-operator":
        password = sys.stdin.readline().rstrip("\n") if chosen.password_stdin else getpass.getpass()
        _create_operator(settings, chosen.email, chosen.name, password)
    else:
        _prepare(settings, chosen.command)


def serve(settings: ApiSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    if faults := asyncio.run(
        pooler_faults(settings.database_url, prepared_statements=settings.database_prepared_statements)
    ):
        refuse(*faults)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=",".join(settings.trusted_proxies),
        server_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        backlog=4096,
    )
    uvicorn.Server(config).run()


def _prepare(settings: ApiSettings, command: str) -> None:
    try:
        if command == "migrate":
            revision = asyncio.run(migrate(settings.database_url))
            sys.stdout.write(f"the database is at revision {revision}\n")
        else:
            sys.stdout.write(f"{asyncio.run(seed(settings))}\n")
    except (MigrationError, OSError) as error:
        refuse(str(error))


def _create_operator(settings: ApiSettings, email: str, name: str, password: str) -> None:
    try:
        user_id = asyncio.run(create_operator(settings, email=email, name=name, password=password))
    except (OperatorExistsError, ValueError, OSError) as error:
        refuse(str(error))
    sys.stdout.write(f"operator {email} has id {user_id}\n")


if __name__ == "__main__":
    main()
