"""Settings: read once from the environment, validated at start, refused with a message that says how to fix them."""

from __future__ import annotations

import sys
from enum import Enum
from typing import NoReturn, TypeVar

from pydantic import SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .redis_address import parse_cluster_url, parse_redis_url


class AppEnvironment(Enum):
    """Where the process runs. Sample secrets boot in `development` and `test` only."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def allows_sample_secrets(self) -> bool:
        """Whether the secrets printed in the documentation are acceptable here."""
        return self in (AppEnvironment.DEVELOPMENT, AppEnvironment.TEST)


class ServiceSettings(BaseSettings):
    """What every service reads. Field names are environment names, upper or lower case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    app_env: AppEnvironment = AppEnvironment.DEVELOPMENT
    log_level: str = "INFO"
    log_format: str = "auto"
    """`json`, `console`, or `auto`: console on a terminal, JSON elsewhere."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """An address, or redis+sentinel://user:password@host:port,host:port/name-of-the-master/database: the Sentinels are
    asked which node takes writes, after a failover again (rediss+sentinel: TLS to that node). make up starts an
    embedded Redis unless this is set."""
    otel_exporter_otlp_endpoint: str | None = None

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        parse_redis_url(value)
        return value


class ChannelSettings(ServiceSettings):
    """What those read who publish to channels, or read from them."""

    redis_channels_url: str = ""
    """A Redis Cluster for the channels' histories and announcements, over sharded pub/sub:
    redis+cluster://user:password@host:port,host:port (rediss+cluster: TLS); everything else stays in REDIS_URL. Worker,
    gateways and operators must be told the same. Empty: channels are in REDIS_URL too."""

    @field_validator("redis_channels_url")
    @classmethod
    def _check_channels_url(cls, value: str) -> str:
        if value:
            parse_cluster_url(value)
        return value

    @property
    def channels_place(self) -> str:
        """Where channels are, without a log-in: for reports."""
        return str(parse_cluster_url(self.redis_channels_url)) if self.redis_channels_url else ""


_Settings = TypeVar("_Settings", bound=BaseSettings)


def load_settings(kind: type[_Settings]) -> _Settings:
    """Read and validate settings, or end the process with one line for each wrong one (exit status 2)."""
    try:
        return kind()
    except ValidationError as error:
        refuse(
            *(
                f"{'.'.join(str(part) for part in problem['loc']).upper() or 'settings'}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            )
        )


def refuse(*lines: str) -> NoReturn:
    """Print why the process does not start and leave with status 2."""
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    raise SystemExit(2)


def split_secrets(value: SecretStr) -> tuple[str, ...]:
    """The secrets of a comma-separated setting, in its order; none for an empty one."""
    return tuple(part.strip() for part in value.get_secret_value().split(",") if part.strip())


def reject_sample_secret(name: str, value: SecretStr, samples: frozenset[str], environment: AppEnvironment) -> None:
    """Raise ValueError when a secret from the documentation is used outside development."""
    if not environment.allows_sample_secrets and value.get_secret_value() in samples:
        msg = f"{name} is a sample secret; set a random one (openssl rand -hex 32) or APP_ENV=development"
        raise ValueError(msg)
