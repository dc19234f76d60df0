"""Settings of `make up`: ports, data folder, servers of one's own. Read from the environment and from `.env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import DevstackError

Port = Annotated[int, Field(ge=1, le=65535)]
ADMIN_PORT_DEFAULT: Final = 9101
WORKER_METRICS_PORT_DEFAULT: Final = 9100
POSTGRES_PORT_DEFAULT: Final = 54329
"""Beside the usual ports, so that an installed Postgres or Redis is not in the way."""
REDIS_PORT_DEFAULT: Final = 63799


class StackSettings(BaseSettings):
    """Field names are environment names. Ports that are None are chosen: the default where free, else another one."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    data_dir: Path = Path(".data")
    """Where the embedded servers keep their data, and the logs and process ids of `make up`."""
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    reverb_host: str = "127.0.0.1"
    reverb_port: Port = 8080
    gateway_admin_port: Port | None = None
    worker_metrics_port: Port | None = None
    postgres_port: Port | None = None
    """Of the embedded server; empty: 54329, or another one when that is taken."""
    redis_port: Port | None = None
    """Of the embedded server; empty: 63799, or another one when that is taken."""
    database_url: str | None = None
    """`make up` starts an embedded Postgres unless this is set."""
    redis_url: str | None = None
    """`make up` starts an embedded Redis unless this is set."""
    web_build: bool = True
    """false: run without the web app, needs no Node."""
    log_format: str = "console"

    def data_folder(self, repository: Path) -> Path:
        """DATA_DIR as an absolute path; a relative one is below the repository."""
        return (self.data_dir if self.data_dir.is_absolute() else repository / self.data_dir).resolve()


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables that the services get: the process's own, and those of `.env` for what it does not set."""

    variables: Mapping[str, str]

    @classmethod
    def read(cls, repository: Path) -> Environment:
        """Merge the process's environment over `.env` of the repository."""
        from_file = {name: value for name, value in dotenv_values(repository / ".env").items() if value is not None}
        return cls(from_file | dict(os.environ))

    def settings(self) -> StackSettings:
        """Validate what `make up` itself reads. Raises: DevstackError with one line for each bad setting."""
        known = {name: value for name in StackSettings.model_fields if (value := self.variables.get(name.upper()))}
        try:
            return StackSettings.model_validate(known)
        except ValidationError as error:
            problems = [
                f"bad setting {str(problem['loc'][0]).upper()}={known.get(str(problem['loc'][0]))}: {problem['msg']}"
                for problem in error.errors(include_url=False)
            ]
            raise DevstackError("\n".join(problems)) from error
