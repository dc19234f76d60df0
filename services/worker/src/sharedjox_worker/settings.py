"""The worker's settings: environment names, defaults, and what is refused at start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, field_validator, model_validator
from sharedjox_contracts.history import HistoryPolicy, parse_history_kinds
from sharedjox_contracts.redis_layout import HistoryLimits
from sharedjox_contracts.webhooks import WebhookApp, decode_webhook_apps, endpoints_from_urls
from sharedjox_kit.environment import ChannelSettings, reject_sample_secret
from sharedjox_marketplace.database import asyncpg_url
from sharedjox_marketplace.notifications.push_rules import SAMPLE_VAPID_PRIVATE_KEY, public_vapid_key
from sharedjox_outbox.relay import RelaySettings

from .webhooks.delivery import DeliveryLimits

SAMPLE_SECRETS: Final = frozenset({"sharedjox-secret", "app-secret", "secret"})


class WorkerSettings(ChannelSettings):
    """What the worker reads from the environment."""

    database_url: str = "postgresql+asyncpg://app@127.0.0.1:5432/sharedjox"
    reverb_app_id: str = Field(default="1001", pattern=r"^[0-9]+$")
    """The app whose channels the marketplace's events go to."""
    reverb_app_key: str = "sharedjox"
    reverb_app_secret: SecretStr = SecretStr("sharedjox-secret")
    apps_file: Path | None = None
    """The gateway's list of applications; their webhooks are sent from here. Read again when it changes."""
    webhook_urls: str = ""
    """Receivers of all webhooks of REVERB_APP_ID, separated by commas; APPS_FILE says more."""
    webhook_allow_private: bool = False
    """Whether webhooks may go to addresses that are not on the public internet."""
    webhook_timeout_seconds: float = Field(default=10.0, gt=0, le=60)
    webhook_retry_seconds: float = Field(default=300.0, ge=0, le=300)
    """How long after an event it is still tried again; receivers refuse what is older than five minutes."""

    vapid_private_key: SecretStr = SecretStr(SAMPLE_VAPID_PRIVATE_KEY)
    """Web Push: the api's key; what it gave to browsers must be what signs here."""
    vapid_subject: str = Field(default="mailto:operations@sharedjox.test", pattern=r"^(mailto:|https://)\S+$")
    """Where push services reach whoever runs this; some refuse addresses that cannot exist."""

    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: int = Field(default=9100, ge=0, le=65535)
    """`/healthz`, `/readyz` and `/metrics`; 0 = off."""
    worker_max_tasks: int = Field(default=10, ge=1, le=1000)
    worker_shutdown_seconds: float = Field(default=8.0, gt=0)
    """How long running tasks may finish after SIGTERM."""

    relay_batch_rows: int = Field(default=500, ge=1, le=5000)
    relay_sweep_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often the outbox is looked at without a bell; bounds the delay that a lost bell costs."""
    relay_replay_seconds: float = Field(default=10.0, ge=0)
    """After a restart of Redis, how much of what it had confirmed is published again."""
    relay_max_event_bytes: int = Field(default=65_536, ge=1024)
    history_length: int = Field(default=1000, ge=1, le=100_000)
    history_age_seconds: int = Field(default=3600, ge=1)
    history_meta_seconds: int = Field(default=7 * 86400, ge=60)
    history_kinds: str = ""
    """As the gateways have it: other limits for some kinds of channels, kind=events/seconds, comma separated."""

    outbox_keep_hours: float = Field(default=24.0, gt=0)
    """How long published rows stay in the outbox."""
    idempotency_keep_hours: float = Field(default=24.0, ge=24.0)

    @field_validator("database_url")
    @classmethod
    def _readable_url(cls, value: str) -> str:
        return asyncpg_url(value)

    @field_validator("vapid_private_key")
    @classmethod
    def _usable_key(cls, value: SecretStr) -> SecretStr:
        public_vapid_key(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _own_vapid_key(self) -> WorkerSettings:
        samples = frozenset({SAMPLE_VAPID_PRIVATE_KEY})
        reject_sample_secret("VAPID_PRIVATE_KEY", self.vapid_private_key, samples, self.app_env)
        return self

    @model_validator(mode="after")
    def _history_holds_a_batch(self) -> WorkerSettings:
        if self.relay_batch_rows > self.history().shortest:
            msg = (
                "RELAY_BATCH_ROWS may not exceed HISTORY_LENGTH nor any length in HISTORY_KINDS: a repeated batch would"
                " not be recognized"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _readable_apps(self) -> WorkerSettings:
        self.load_webhook_apps()
        if self.webhook_urls:
            reject_sample_secret("REVERB_APP_SECRET", self.reverb_app_secret, SAMPLE_SECRETS, self.app_env)
        return self

    def load_webhook_apps(self) -> list[WebhookApp]:
        """The applications with their receivers, as they are now. Raises: ValueError that says what is wrong."""
        try:
            if self.apps_file is not None:
                return decode_webhook_apps(self.apps_file.read_bytes())
            endpoints = endpoints_from_urls(self.webhook_urls)
        except (OSError, ValueError) as error:
            msg = f"{'APPS_FILE' if self.apps_file else 'WEBHOOK_URLS'}: {error}"
            raise ValueError(msg) from error
        secret = self.reverb_app_secret.get_secret_value()
        return [WebhookApp(self.reverb_app_id, self.reverb_app_key, secret, webhooks=endpoints)]

    def delivery(self) -> DeliveryLimits:
        """The limits of webhook delivery."""
        return DeliveryLimits(
            retry_seconds=self.webhook_retry_seconds,
            timeout_seconds=self.webhook_timeout_seconds,
            allow_private=self.webhook_allow_private,
        )

    def history(self) -> HistoryPolicy:
        """How much of each channel's past Redis keeps. Raises: ValueError that says what is wrong."""
        limits = HistoryLimits(self.history_length, self.history_age_seconds, self.history_meta_seconds)
        return HistoryPolicy(limits, parse_history_kinds(self.history_kinds, limits))

    def relay(self) -> RelaySettings:
        """The relay's part."""
        return RelaySettings(
            batch_rows=self.relay_batch_rows,
            repeat_rows_per_channel=min(self.relay_batch_rows, self.history().shortest),
            replay_window=dt.timedelta(seconds=self.relay_replay_seconds),
        )
