"""The api's settings: environment names, defaults, and what is refused at start."""

from __future__ import annotations

import datetime as dt
import functools
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode
from sharedjox_kit.environment import ServiceSettings, reject_sample_secret, split_secrets
from sharedjox_marketplace.database import asyncpg_url
from sharedjox_marketplace.jobs.actions import Terms
from sharedjox_marketplace.notifications.push_rules import SAMPLE_VAPID_PRIVATE_KEY, public_vapid_key

SAMPLE_APP_SECRET: Final = "sharedjox-secret"  # noqa: S105 - the sample that production refuses
SAMPLE_JWT_SECRET: Final = "development-only-jwt-secret"  # noqa: S105 - the sample that production refuses
_MIN_SECRET_LENGTH: Final = 32

_RATE_OUTSIDE_DEVELOPMENT: Final = {
    "rate_limit_user_per_minute": 600,
    "rate_limit_address_per_minute": 1200,
    "login_attempts_per_minute": 10,
}


def _comma_separated(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class ApiSettings(ServiceSettings):
    """What the api reads from the environment."""

    database_url: str = "postgresql+asyncpg://app@127.0.0.1:5432/sharedjox"
    database_pool_size: int = Field(default=20, ge=1, le=500)
    database_max_overflow: int = Field(default=20, ge=0, le=500)
    database_prepared_statements: bool = True
    """false for a connection pooler that mixes clients and knows no prepared statements (PgBouncer before 1.21)."""
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=1, le=65535)

    reverb_app_id: str = Field(default="1001", pattern=r"^[0-9]+$")
    reverb_app_key: str = Field(default="sharedjox", pattern=r"^[^:\s]+$")
    reverb_app_secret: SecretStr = SecretStr(SAMPLE_APP_SECRET)
    allowed_origins: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(
        default_factory=lambda: ["*"]
    )
    """Origins that browsers may call the api from, comma separated; `*` for any. No cookies are used."""

    jwt_secret: SecretStr = SecretStr(SAMPLE_JWT_SECRET)
    """Signs access tokens, and verifies them."""
    jwt_accepted_secrets: SecretStr = SecretStr("")
    """Secrets that verify access tokens as well and never sign, comma separated: the next one before a rotation, the
    former one after it."""
    access_token_seconds: int = Field(default=900, ge=5, le=86_400)
    refresh_token_days: int = Field(default=30, ge=1, le=365)
    password_memory_kib: int = Field(default=19_456, ge=8)
    password_time_cost: int = Field(default=2, ge=1)
    password_threads: int = Field(default=2, ge=1, le=64)

    platform_fee_percent: Decimal = Field(default=Decimal(10), ge=0, le=50)
    earning_release_hours: float = Field(default=72, gt=0)

    max_body_bytes: int = Field(default=262_144, ge=1024)
    rate_limit_user_per_minute: int = Field(default=0, ge=0)
    """Requests of one user; 0 = no limit. Defaults to 600 outside development and test."""
    rate_limit_address_per_minute: int = Field(default=0, ge=0)
    """Requests of one address; 0 = no limit. Defaults to 1200 outside development and test."""
    login_attempts_per_minute: int = Field(default=0, ge=0)
    """Log-ins for one account from one address; 0 = no limit. Defaults to 10 outside development and test."""
    trusted_proxies: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(
        default_factory=lambda: ["127.0.0.1"]
    )
    """Whose `X-Forwarded-For` is believed."""

    grant_wait_seconds: float = Field(default=5.0, ge=0, le=30)
    """How long `/broadcasting/auth` waits for a Redis that is away before it answers 503."""
    grant_lifetime_seconds: int = Field(default=2 * 86_400, ge=60)
    """How long it is remembered that a channel was signed for a connection; longer than a gateway keeps one open
    (CONNECTION_LIFETIME_SECONDS)."""
    web_dist_dir: Path | None = None
    vapid_private_key: SecretStr = SecretStr(SAMPLE_VAPID_PRIVATE_KEY)
    """Web Push: 32 bytes in base64url; the public key follows from it."""
    shutdown_seconds: int = Field(default=10, ge=1)

    @field_validator("database_url")
    @classmethod
    def _readable_url(cls, value: str) -> str:
        return asyncpg_url(value)

    @field_validator("vapid_private_key")
    @classmethod
    def _usable_key(cls, value: SecretStr) -> SecretStr:
        public_vapid_key(value.get_secret_value())
        return value

    @field_validator("web_dist_dir")
    @classmethod
    def _existing_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not (value / "index.html").is_file():
            msg = f"{value} has no index.html: build the web client (npm run build), or leave WEB_DIST_DIR unset"
            raise ValueError(msg)
        return value

    @model_validator(mode="before")
    @classmethod
    def _strict_outside_development(cls, values: Any) -> Any:
        if isinstance(values, dict) and str(values.get("app_env", "development")) in ("staging", "production"):
            return _RATE_OUTSIDE_DEVELOPMENT | values
        return values

    @model_validator(mode="after")
    def _refuse_sample_secrets(self) -> ApiSettings:
        reject_sample_secret("REVERB_APP_SECRET", self.reverb_app_secret, frozenset({SAMPLE_APP_SECRET}), self.app_env)
        reject_sample_secret("JWT_SECRET", self.jwt_secret, frozenset({SAMPLE_JWT_SECRET}), self.app_env)
        samples = frozenset({SAMPLE_VAPID_PRIVATE_KEY})
        reject_sample_secret("VAPID_PRIVATE_KEY", self.vapid_private_key, samples, self.app_env)
        for secret in self.jwt_secrets[1:]:
            reject_sample_secret(
                "JWT_ACCEPTED_SECRETS", SecretStr(secret), frozenset({SAMPLE_JWT_SECRET}), self.app_env
            )
        short = min(map(len, self.jwt_secrets)) < _MIN_SECRET_LENGTH
        if short and not self.app_env.allows_sample_secrets:
            msg = (
                f"JWT_SECRET and JWT_ACCEPTED_SECRETS need {_MIN_SECRET_LENGTH} characters each;"
                " make one with: openssl rand -hex 32"
            )
            raise ValueError(msg)
        return self

    @functools.cached_property
    def jwt_secrets(self) -> tuple[str, ...]:
        """The one that signs, then those that are accepted too."""
        return (self.jwt_secret.get_secret_value(), *split_secrets(self.jwt_accepted_secrets))

    @functools.cached_property
    def terms(self) -> Terms:
        """The platform's conditions."""
        return Terms(self.platform_fee_percent, dt.timedelta(hours=self.earning_release_hours))
